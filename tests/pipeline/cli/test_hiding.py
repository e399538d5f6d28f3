"""A password given on the command line does not stay there, and still opens the camera."""

from __future__ import annotations

import base64
import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.hiding import arguments

MAIN = "from pipeline.cli.main import main; main()"
PASSWORD = f"S3cret/w0rd{os.getpid()}"  # of this run of the tests alone
SCRIPT = Path(sys.executable).with_name("maskstream")


class Guarded(socketserver.StreamRequestHandler):
    """An RTSP server that asks everybody for a password and lets nobody in."""

    def handle(self) -> None:
        number = b"1"
        for line in self.rfile:
            name, _, value = line.strip().partition(b":")
            if name.lower() == b"cseq":
                number = value.strip()
            if name.lower() == b"authorization":
                self.server.told.append(value.split()[-1])  # type: ignore[attr-defined]
                self.server.asked.set()  # type: ignore[attr-defined]
            if line == b"\r\n":
                answer = b"RTSP/1.0 401 Unauthorized\r\nCSeq: " + number
                self.wfile.write(answer + b'\r\nWWW-Authenticate: Basic realm="camera"\r\n\r\n')


@pytest.fixture
def guarded() -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Guarded) as server:
        server.daemon_threads, server.block_on_close = True, False
        server.told, server.asked = [], threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="command lines are in /proc")
@pytest.mark.parametrize(
    "command",
    [
        pytest.param([sys.executable, "-c", MAIN], id="interpreter"),
        pytest.param(
            [str(SCRIPT)],
            id="script",
            marks=pytest.mark.skipif(not SCRIPT.exists(), reason="maskstream is not installed"),
        ),
    ],
)
def test_no_command_line_holds_the_password_once_the_camera_is_asked(
    guarded: Any, tmp_path: Path, command: list[str], command_lines: Callable[[], str]
) -> None:
    encoded = PASSWORD.replace("/", "%2F")
    url = f"rtsp://user:{encoded}@127.0.0.1:{guarded.server_address[1]}/cam"
    more = [
        "--model",
        "blob",
        "--local",
        "--output",
        "out with spaces",
        "--sink",
        "jsonl:a b.jsonl",
    ]
    process = subprocess.Popen(
        [*command, "track", url, *more],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert guarded.asked.wait(30)
        lines = command_lines()
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[0].decode()
    assert base64.b64decode(guarded.told[0]).decode() == f"user:{PASSWORD}"
    assert f"track rtsp://***@127.0.0.1:{guarded.server_address[1]}/cam --model blob" in lines
    assert (tmp_path / "a b.jsonl").exists()
    for way in (PASSWORD, encoded, guarded.told[0].decode()):
        assert way not in lines
        assert way not in said


def test_arguments_without_a_password_are_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["maskstream", "track", "rtsp://camera/1", "--quiet"])
    assert arguments() == ["track", "rtsp://camera/1", "--quiet"]


@pytest.mark.parametrize("left", ["999999", "x", "-1"])
def test_a_file_that_was_not_left_by_ourselves_is_nothing(
    monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["maskstream", "track", "rtsp://***@camera/1"])
    monkeypatch.setenv("MASKSTREAM_ARGUMENTS", left)
    assert arguments() == ["track", "rtsp://***@camera/1"]
    assert "MASKSTREAM_ARGUMENTS" not in os.environ


def test_only_the_arguments_that_stand_masked_on_the_command_line_are_taken_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["maskstream", "track", "rtsp://***@camera/1"])
    for text, expected in (
        ('["track", "rtsp://me:pass@camera/1"]', "rtsp://me:pass@camera/1"),
        ('["track", "rtsp://me:pass@elsewhere/1"]', "rtsp://***@camera/1"),
    ):
        (tmp_path / "left.json").write_text(text)
        number = os.open(tmp_path / "left.json", os.O_RDONLY)
        monkeypatch.setenv("MASKSTREAM_ARGUMENTS", str(number))
        assert arguments() == ["track", expected]
