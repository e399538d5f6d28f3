"""Streams sent by the `ffmpeg` command: over UDP, HTTP and RTMP, to whoever listens."""

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


Sender = subprocess.Popen[bytes]


@pytest.fixture
def send(ffmpeg_program: str, numbered_clip: Path) -> Iterator[Callable[..., Sender]]:
    """Sends the numbered clip over and over in real time."""
    children: list[Sender] = []

    def start(*output: str) -> Sender:
        loop = ("-re", "-stream_loop", "-1", "-framerate", "25", "-i", str(numbered_clip))
        command = [ffmpeg_program, "-v", "error", *loop, "-c", "copy", *output]
        children.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait(10)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def address_of(scheme: str, send: Callable[..., Sender], *options: str) -> str:
    """Where a stream is being sent."""
    if scheme == "udp":
        url = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        send(*options, "-f", "mpegts", f"{url}?pkt_size=1316")
    elif scheme == "http":
        url = f"http://127.0.0.1:{free_port()}/live.ts"
        send(*options, "-f", "mpegts", "-listen", "1", url)
    else:
        url = f"rtmp://127.0.0.1:{free_port()}/live/cam"
        send(*options, "-f", "flv", "-listen", "1", url)
    return url


@pytest.mark.parametrize("scheme", ["udp", "http", "rtmp"])
def test_a_stream_is_read_from_whoever_sends_it(send: Any, number_of: Any, scheme: str) -> None:
    url = address_of(scheme, send)
    reading = open_source(url, source_id="gate")
    frames = list(itertools.islice(reading.frames(), 60))
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == [(numbers[0] + i) % 250 for i in range(60)]
    assert {frame.clock for frame in frames} == {"arrival"}
    steps = [later.pts_s - earlier.pts_s for earlier, later in itertools.pairwise(frames)]
    assert steps == pytest.approx([0.04] * 59, abs=0.002)


def test_an_rtmp_sender_that_dies_is_asked_until_it_is_back(send: Any, number_of: Any) -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/cam"
    sender = send("-f", "flv", "-listen", "1", url)
    reading = open_source(url, source_id="gate")
    frames = reading.frames()
    before = next(frames)
    sender.kill()
    sender.wait(10)
    send("-f", "flv", "-listen", "1", url)
    after = next(frame for frame in frames if frame.epoch > 0)
    reading.stop()
    assert (before.epoch, after.epoch) == (0, 1)
    assert after.index > before.index
    assert 0 <= number_of(after.image) < 250


WRAP_S = 2**33 / 90_000
"""The time stamps of a transport stream have 33 bits: 26.5 hours."""


@pytest.mark.parametrize("scheme", ["udp", "http"])
def test_time_goes_on_where_the_stamps_of_a_transport_stream_begin_anew(
    send: Any, number_of: Any, scheme: str
) -> None:
    url = address_of(scheme, send, "-output_ts_offset", f"{WRAP_S - 3:.6f}")
    reading = open_source(url, source_id="gate")
    frames = list(itertools.islice(reading.frames(), 125))  # FFmpeg adds a second or so
    reading.stop()
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == [(numbers[0] + i) % 250 for i in range(125)]
    assert {frame.epoch for frame in frames} == {0}
    steps = [later.pts_s - earlier.pts_s for earlier, later in itertools.pairwise(frames)]
    assert steps == pytest.approx([0.04] * 124, abs=0.002)


@pytest.mark.parametrize("before_s", [20.0, 120.0])  # FFmpeg treats the last minute differently
def test_a_file_goes_on_where_its_stamps_begin_anew(
    ffmpeg_program: str, tmp_path: Path, before_s: float
) -> None:
    path = tmp_path / "wrap.ts"
    command = [ffmpeg_program, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=2"]
    command += ["-t", str(2 * before_s), "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2"]
    command += ["-output_ts_offset", f"{WRAP_S - before_s:.6f}", str(path)]
    subprocess.run(command, check=True)
    frames = list(open_source(str(path), source_id="gate").frames())
    assert [frame.index for frame in frames] == list(range(int(4 * before_s)))
    assert {frame.epoch for frame in frames} == {0}
    steps = [later.pts_s - earlier.pts_s for earlier, later in itertools.pairwise(frames)]
    assert steps == pytest.approx([0.5] * len(steps))
