"""What one stream does to its own process changes nothing for the streams beside it."""

from __future__ import annotations

import http.server
import os
import re
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.config import Settings, parse
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from pipeline.stages import Status
from pipeline.stream import End
from workers.lives import Limits
from workers.running import run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

WriteClip = Callable[[str, int], Path]
GOOD = {"a": 90, "b": 60, "c": 75}


def own_pids(name: str) -> list[int]:
    """Processes that hold an output file of this name open, this one left out."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            files = [os.readlink(file) for file in (entry / "fd").iterdir()]
        except OSError:
            continue
        if int(entry.name) != os.getpid() and any(file.endswith(name) for file in files):
            found.append(int(entry.name))
    return found


@pytest.fixture
def crashing(tmp_path: Path) -> Iterator[None]:
    """Whoever writes `crash.jsonl` dies of a fault in its memory, again and again."""
    over = threading.Event()

    def crash() -> None:
        while not over.wait(0.02):
            for pid in own_pids(f"{tmp_path.name}/beside/crash.jsonl"):
                os.kill(pid, signal.SIGSEGV)

    thread = threading.Thread(target=crash)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def garbage() -> Iterator[str]:
    """The address of a server that sends noise for as long as anybody listens."""
    rng = np.random.default_rng(1)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(rng.bytes(20_000))
                    threading.Event().wait(0.05)
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/cam"
        server.shutdown()


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    """One picture of 8192 x 8192 in a few kilobytes."""
    path = tmp_path / "bomb.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1, options={"preset": "ultrafast"})
        stream.width = stream.height = 8192
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(8192, 8192, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert path.stat().st_size < 1 << 20
    return path


def settings_for(sources: list[dict[str, Any]], out: Path, **sections: Any) -> Settings:
    sinks = [f"jsonl:{out}/{{source}}.jsonl"]
    return parse({"model": {"name": "blob"}, "sources": sources, "sinks": sinks, **sections})


def good_sources(write_clip: WriteClip) -> list[dict[str, Any]]:
    return [{"id": name, "url": str(write_clip(f"{name}.mp4", n))} for name, n in GOOD.items()]


def test_three_streams_end_with_the_same_bytes_beside_three_that_poison(
    ray_session: None,
    write_clip: WriteClip,
    tmp_path: Path,
    crashing: None,
    garbage: str,
    bomb: Path,
) -> None:
    good = good_sources(write_clip)
    bad = [
        {"id": "crash", "url": "synthetic://street?seed=1&frames=100000&size=160x96"},
        {"id": "garbage", "url": garbage, "first_connect_s": 2, "read_timeout_s": 1},
        {"id": "bomb", "url": str(bomb)},
    ]
    limits = Limits(poll_s=0.1, stream_restarts=2)
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    assert run_local(resolve(settings_for(good, alone))).exit_code == 0
    summary = run(resolve(settings_for([*bad, *good], beside)), limits=limits)
    ends: dict[str, End] = {end.source_id: end for end in summary.ends}
    for name, frames in GOOD.items():
        assert (ends[name].outcome.status, ends[name].counts.published) == ("complete", frames)
        assert (beside / f"{name}.jsonl").read_bytes() == (alone / f"{name}.jsonl").read_bytes()
    reasons = {end.source_id: end.outcome.reason or "" for end in summary.ends}
    assert {ends[source["id"]].outcome.status for source in bad} == {Status.FAILED}
    # Where the stack of the handler is too small for Python's, Ray's is heard alone.
    assert re.fullmatch(
        "the stream worker died: its process was killed or crashed; it said: "
        r"(Fatal Python error: Segmentation fault|\*\*\* SIGSEGV received at .*), "
        "after 2 restarts within 60 s",
        reasons["crash"],
    )
    assert "gave up after 2 s" in reasons["garbage"]
    assert "67108864 pixels are more than max_pixels" in reasons["bomb"]
    assert summary.exit_code == 1


def test_a_stream_beyond_its_memory_has_failed_and_says_so(
    ray_session: None, tmp_path: Path
) -> None:
    source = {"id": "street", "url": "synthetic://street?seed=1&frames=100000&size=160x96"}
    settings = settings_for([source], tmp_path, workers={"stream_memory_mb": 20})
    (end,) = run(resolve(settings), limits=Limits(poll_s=0.1, stream_restarts=1)).ends
    assert end.outcome.status is Status.FAILED
    assert "MB, workers.stream_memory_mb is 20, after 1 restarts" in (end.outcome.reason or "")


MAIN = "from pipeline.cli.main import main; main()"
PASSWORD = "S3cret/w0rd"
WAYS = (PASSWORD, "S3cret%2Fw0rd", "dXNlcjpTM2NyZXQvdzByZA==")


class Refusing(socketserver.StreamRequestHandler):
    """An RTSP server that lets nobody in."""

    def handle(self) -> None:
        number = b"1"
        for line in self.rfile:
            name, _, value = line.strip().partition(b":")
            if name.lower() == b"cseq":
                number = value.strip()
            if line == b"\r\n":
                self.server.asked.set()  # type: ignore[attr-defined]
                self.wfile.write(
                    b"RTSP/1.0 401 Unauthorized\r\nCSeq: " + number + b"\r\n"
                    b'WWW-Authenticate: Basic realm="camera"\r\n\r\n'
                )


@pytest.fixture
def refusing() -> Iterator[socketserver.ThreadingTCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        server.daemon_threads, server.block_on_close = True, False
        server.asked = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def metrics_of(said: Path, process: subprocess.Popen[bytes], port: int) -> str:
    """The metrics page, once it has the refused camera on it."""
    page = ""
    while 'source_id="cam"' not in page:
        assert process.poll() is None, said.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                page = answer.read().decode()
        except OSError:
            time.sleep(0.05)
    return page


def written_below(folder: Path, seen: list[str]) -> set[str]:
    """Add the text of all files below a folder; their names."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    seen += [path.read_bytes().decode(errors="replace") for path in files]
    return {path.name for path in files}


def test_a_password_that_is_refused_is_found_nowhere(
    refusing: Any, write_clip: WriteClip, tmp_path: Path, command_lines: Callable[[], str]
) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as free:
        port = free.server_address[1]
    camera = f"rtsp://127.0.0.1:{refusing.server_address[1]}/cam"
    (tmp_path / "run.yaml").write_text(
        f"model: {{name: blob}}\nmetrics: {{port: {port}}}\n"
        "sources:\n"
        f"  - {{id: good, url: {write_clip('a.mp4', 90)}}}\n"
        f"  - {{id: cam, url: '{camera}', username: user, password_env: CAMERA_PASSWORD}}\n"
        "sinks: ['jsonl:out/{source}.jsonl']\nrun: {state_dir: state}\n"
    )
    said = tmp_path / "said.txt"
    # a short path: Ray puts sockets there, and keeps its logs as long as the run lives
    with tempfile.TemporaryDirectory(prefix="ms-", dir="/tmp") as ray_folder:
        with said.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", MAIN, "run", "run.yaml"],
                cwd=tmp_path,
                env={**os.environ, "CAMERA_PASSWORD": PASSWORD, "TMPDIR": ray_folder},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            seen = [metrics_of(said, process, port)]
            assert refusing.asked.wait(60)
            while "authentication refused (401)" not in said.read_text():
                assert process.poll() is None, said.read_text()
                time.sleep(0.05)
            seen += [metrics_of(said, process, port), command_lines()]
            names = written_below(Path(ray_folder), seen)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()
            process.wait()
        names |= written_below(Path(ray_folder), seen) | written_below(tmp_path, seen)
    assert {"good.jsonl", "said.txt", "raylet.out"} <= names
    assert any(name.startswith("run-") and name.endswith(".json") for name in names)
    assert "run run.yaml" in "\n".join(seen)
    for text in seen:
        for password in WAYS:
            assert password not in text
