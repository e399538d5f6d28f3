"""A password is found in nothing that a run leaves or shows, whatever goes wrong."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

PASSWORD = "S3cret-w0rd"  # of the camera's closed port
MAIN = "from pipeline.cli.main import main; main()"
CONFIG = """
model: {{name: blob}}
sources:
{sources}
sinks: ["jsonl:out/{{source}}.jsonl"]
metrics: {{port: {port}}}
"""


def forms(password: str) -> list[str]:
    """The ways a password may be written."""
    basic = base64.b64encode(f"user:{password}".encode()).decode()
    return [password, quote(password, safe=""), basic]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class Run:
    """`maskstream run` as a child process; everything it says is kept."""

    def __init__(self, folder: Path, sources: list[str], port: int, **environment: str) -> None:
        lines = "\n".join(f"  - {line}" for line in sources)
        (folder / "run.yaml").write_text(CONFIG.format(sources=lines, port=port))
        self.folder, self.port = folder, port
        self.said = (folder / "said.txt").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "run", "run.yaml", "--local"],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=self.said,
            stderr=subprocess.STDOUT,
        )

    def look(self) -> str:
        """What can be seen of it now: metrics, health, command lines."""
        seen = []
        for path in ("metrics", "healthz", "readyz"):
            try:
                address = f"http://127.0.0.1:{self.port}/{path}"
                with urllib.request.urlopen(address, timeout=5) as answer:
                    seen.append(answer.read().decode())
            except urllib.error.HTTPError as answer:
                seen.append(answer.read().decode())
            except OSError:
                seen.append("")
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "rtsp_server.py" not in line:  # the camera itself is told its password
                seen.append(line)
        return "\n".join(seen)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self.said.close()

    def left(self) -> str:
        """Everything in its folder but the configuration it was given."""
        files = [p for p in self.folder.rglob("*") if p.is_file() and p.name != "run.yaml"]
        return "\n".join(p.read_bytes().decode(errors="replace") for p in files)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        run.end()


def test_no_password_in_logs_output_metrics_or_command_lines(
    camera: Any, proxy: Any, tmp_path: Path, runs: list[Run]
) -> None:
    closed = camera.closed_port
    way = proxy(closed)
    wrong = "Wr0ng/p@ss"
    run = Run(
        tmp_path,
        [
            f"{{id: good, url: 'rtsp://127.0.0.1:{way.ports[0]}/cam', username: user, "
            "password_env: CAMERA_PASSWORD}",
            f"{{id: inside, url: 'rtsp://user:{PASSWORD}@127.0.0.1:{closed}/cam'}}",
            f"{{id: wrong, url: 'rtsp://user:{quote(wrong, safe='')}@127.0.0.1:{closed}/cam'}}",
            f"{{id: gone, url: 'rtsp://user:{PASSWORD}@127.0.0.1:{closed}/nothing'}}",
            f"{{id: refused, url: 'rtsp://user:{PASSWORD}@127.0.0.1:1/cam'}}",
            f"{{id: unknown, url: 'http://user:{PASSWORD}@no-such-camera.invalid/x?token=T0k3n-x'}}",
        ],
        free_port(),
        CAMERA_PASSWORD=PASSWORD,
    )
    runs.append(run)
    records = tmp_path / "out" / "good.jsonl"
    deadline = time.monotonic() + 40
    while not records.exists() or records.stat().st_size < 1000:
        assert time.monotonic() < deadline, (tmp_path / "said.txt").read_text()
        assert run.process.poll() is None, (tmp_path / "said.txt").read_text()
        threading.Event().wait(0.1)
    seen = [run.look()]
    for fault in ("reset", "corrupt 0.3", "stall"):
        way.say(fault)
        threading.Event().wait(1.0)
        seen.append(run.look())
    camera.kill()
    threading.Event().wait(1.0)
    seen.append(run.look())
    run.end()
    text = "\n".join([*seen, run.left()])
    for word in ("authentication refused (401)", "connection refused", "does not resolve"):
        assert word in text
    assert "maskstream_stream_state" in text
    for secret in (*forms(PASSWORD), *forms(wrong), "T0k3n-x"):
        assert secret not in text
