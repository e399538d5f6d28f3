"""Streams that cannot be read change nothing for those beside them."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

MAIN = "from pipeline.cli.main import main; main()"


def write_clip(path: Path, size: tuple[int, int] = (96, 128), *, seed: int = 0) -> Path:
    """A red square that moves over grey; `seed` decides where."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1
        for i in range(30):
            image = np.full((*size, 3), 90, np.uint8)
            image[20:60, 10 + 2 * i : 40 + 2 * i + seed] = (0, 0, 255)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def poison(tmp_path: Path) -> Iterator[str]:
    """A server of endless garbage, of pictures too large, and of a stream that ends at once."""
    bomb = write_clip(tmp_path / "bomb.ts", (480, 640)).read_bytes()
    rng = np.random.default_rng(1)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while self.path == "/garbage":
                    self.wfile.write(rng.bytes(20_000))
                    threading.Event().wait(0.05)
                if self.path == "/bomb":
                    self.wfile.write(bomb)
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run(folder: Path, sources: list[str], wait_for: list[str]) -> dict[str, bytes]:
    """The records of the sources to wait for, once each of them has ended."""
    folder.mkdir()
    lines = "\n".join(f"  - {line}" for line in sources)
    (folder / "run.yaml").write_text(
        f"model: {{name: blob}}\nsources:\n{lines}\nsinks: ['jsonl:{{source}}.jsonl']\n"
    )
    command = [sys.executable, "-c", MAIN, "run", "run.yaml", "--local"]
    paths = [folder / f"{name}.jsonl" for name in wait_for]
    with subprocess.Popen(command, cwd=folder, env=dict(os.environ)) as child:
        deadline = time.monotonic() + 60
        while not all(p.exists() and b'"maskstream.end/1"' in p.read_bytes() for p in paths):
            assert time.monotonic() < deadline
            threading.Event().wait(0.1)
        if len(sources) > len(wait_for):
            threading.Event().wait(2.0)
            assert child.poll() is None  # the poison is still being asked for
            child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    return {path.stem: path.read_bytes() for path in paths}


def test_good_streams_end_as_if_there_was_no_poison(tmp_path: Path, poison: str) -> None:
    names = ["a", "b", "c"]
    good = [
        f"{{id: {name}, url: {write_clip(tmp_path / f'{name}.mp4', seed=seed)}}}"
        for seed, name in enumerate(names)
    ]
    bad = [
        f"{{id: garbage, url: '{poison}/garbage', read_timeout_s: 1}}",
        f"{{id: bomb, url: '{poison}/bomb', max_pixels: 100000}}",
        f"{{id: empty, url: '{poison}/nothing'}}",
    ]
    alone = run(tmp_path / "alone", good, names)
    beside = run(tmp_path / "beside", [*bad, *good], names)
    assert beside == alone
    assert all(records.count(b"\n") == 31 for records in alone.values())
