"""Streams sent by the `ffmpeg` command: over UDP, over HTTP, to whoever listens."""

from __future__ import annotations

import itertools
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.sources import open_source

pytestmark = [pytest.mark.servers, pytest.mark.timeout(60)]


@pytest.fixture
def send(ffmpeg_program: str, numbered_clip: Path) -> Iterator[Callable[..., None]]:
    """Sends the numbered clip over and over in real time."""
    children: list[subprocess.Popen[bytes]] = []

    def start(*output: str) -> None:
        loop = ("-re", "-stream_loop", "-1", "-framerate", "25", "-i", str(numbered_clip))
        command = [ffmpeg_program, "-v", "error", *loop, "-c", "copy", *output]
        children.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))

    yield start
    for child in children:
        child.kill()
        child.wait(10)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.mark.parametrize("scheme", ["udp", "http"])
def test_a_transport_stream_is_read_from_whoever_sends_it(
    send: Any, number_of: Any, scheme: str
) -> None:
    if scheme == "udp":
        url = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        send("-f", "mpegts", f"{url}?pkt_size=1316")
    else:
        url = f"http://127.0.0.1:{free_port()}/live.ts"
        send("-f", "mpegts", "-listen", "1", url)
    reading = open_source(url, source_id="gate")
    frames = list(itertools.islice(reading.frames(), 60))
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == [(numbers[0] + i) % 250 for i in range(60)]
    assert {frame.clock for frame in frames} == {"arrival"}
    steps = [later.pts_s - earlier.pts_s for earlier, later in itertools.pairwise(frames)]
    assert steps == pytest.approx([0.04] * 59, abs=0.002)
