"""Annotated video sent to a real receiver that comes, goes, and takes nothing for a while."""

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.instances import Instances
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks import open_sink
from pipeline.stages import Sink
from pipeline.testing import make_frame
from tests.servers.conftest import number_in, numbered

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

Listen = Callable[[str, Path], subprocess.Popen[bytes]]
FOUND = Instances.empty((240, 320))
LISTENING = {"rtsp": ["-rtsp_flags", "listen"], "rtmp": ["-f", "flv", "-listen", "1"]}


def free_port(kind: str) -> int:
    protocol = socket.SOCK_DGRAM if kind in ("udp", "srt") else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, protocol) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def listen(ffmpeg_program: str) -> Iterator[Listen]:
    """Starts an ffmpeg that takes what is sent to a URL, and keeps it as MPEG-TS."""
    started: list[subprocess.Popen[bytes]] = []

    def start(url: str, path: Path) -> subprocess.Popen[bytes]:
        options = LISTENING.get(url.partition(":")[0], [])
        command = [
            ffmpeg_program,
            "-v",
            "error",
            *options,
            "-i",
            url.replace("?", "?mode=listener&") if url.startswith("srt:") else url,
            "-c",
            "copy",
            "-y",
            str(path),
        ]
        started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(10)


class Feed:
    """Numbered pictures with noise in them for a sink, one every twenty milliseconds."""

    def __init__(self, url: str) -> None:
        self.sink: Sink = open_sink(url, source_id="gate", run="r", labels={}, fps_hint=25)
        self.number = 0
        self.slowest_s = 0.0
        self._rng = np.random.default_rng(0)

    def until(self, ready: Callable[[], bool], *, limit_s: float = 30.0) -> None:
        began = time.monotonic()
        while not ready():
            assert time.monotonic() - began < limit_s
            image = numbered(self.number)
            image[150:] = self._rng.integers(0, 256, image[150:].shape, np.uint8)
            picture = Picture(image, FOUND, {}, lambda image, _, __: image.copy())
            frame = make_frame(self.number, source_id="gate")
            result = FrameResult.of(frame, FOUND, run="r", model="blob", labels={})
            before = time.monotonic()
            self.sink.write(result, picture)
            self.slowest_s = max(self.slowest_s, time.monotonic() - before)
            self.number += 1
            time.sleep(0.02)


def received(path: Path) -> list[int]:
    """Numbers of the pictures, in the order they came."""
    with av.open(str(path)) as container:
        return [number_in(f.to_ndarray(format="bgr24")) for f in container.decode(video=0)]


def grows(path: Path, beyond: int = 0) -> Callable[[], bool]:
    return lambda: path.exists() and path.stat().st_size > beyond


@pytest.mark.parametrize("kind", ["rtsp", "rtmp", "udp", "srt"])
def test_what_arrives_is_the_stream_in_order(kind: str, listen: Listen, tmp_path: Path) -> None:
    place = "" if kind in ("udp", "srt") else "/live/gate"
    url, path = f"{kind}://127.0.0.1:{free_port(kind)}{place}?", tmp_path / "a.ts"
    listen(url.rstrip("?") if kind != "srt" else url, path)
    feed = Feed(f"{url}crf=10")
    feed.until(grows(path, 200_000))
    feed.sink.close()
    numbers = received(path)
    assert len(numbers) > 25
    assert numbers == sorted(numbers)
    assert numbers[-1] > 25


def test_a_receiver_that_is_killed_is_found_again(listen: Listen, tmp_path: Path) -> None:
    url = f"rtmp://127.0.0.1:{free_port('rtmp')}/live/gate"
    first, second = tmp_path / "a.ts", tmp_path / "b.ts"
    receiver = listen(url, first)
    feed = Feed(url)
    feed.until(grows(first, 200_000))
    receiver.kill()
    receiver.wait(10)
    killed_at = feed.number
    listen(url, second)
    feed.until(grows(second, 200_000))
    feed.sink.close()
    numbers = received(second)
    assert numbers == sorted(numbers)
    assert numbers[0] > killed_at


@pytest.mark.parametrize("kind", ["rtmp", "rtsp", "udp"])
def test_a_name_that_nobody_knows_is_said(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    place = "nosuchhost.invalid:1234" + ("" if kind == "udp" else "/live/gate")
    feed = Feed(f"{kind}://{place}")
    feed.until(lambda: bool(caplog.messages))
    feed.sink.close()
    why = caplog.messages[0].removeprefix(f"sink {kind}://{place}: ")
    assert why.removesuffix("; asked again until it takes pictures") in (
        "Name or service not known",
        "Temporary failure in name resolution",  # where nobody can be asked
    )


@pytest.mark.parametrize("kind", ["rtmp", "rtsp"])
def test_a_server_that_lets_us_in_and_says_nothing_stops_nobody(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipeline.sinks.live.STUCK_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        feed = Feed(f"{kind}://127.0.0.1:{silent.getsockname()[1]}/live/gate")
        feed.until(lambda: "asked again until it takes pictures" in caplog.text)
        assert "has taken nothing for" in caplog.text
        began = time.monotonic()
        feed.sink.close()
    assert time.monotonic() - began < 3
    assert feed.slowest_s < 0.5  # PyAV alone keeps Python's lock while it connects


def test_an_encrypted_way_goes_to_who_is_known_and_to_nobody_else(
    listen: Listen,
    proxy: Callable[..., Any],
    certificate: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    port, path = free_port("rtsp"), tmp_path / "a.ts"
    way = proxy(port, "--certificate", str(certificate))
    url = f"rtsps://localhost:{way.ports[0]}/live/gate"
    stranger = Feed(url)
    stranger.until(lambda: "its certificate is not trusted (self-signed" in caplog.text)
    stranger.sink.close()
    listen(f"rtsp://127.0.0.1:{port}/live/gate", path)
    feed = Feed(f"{url}?tls_ca_file={certificate}")
    feed.until(grows(path, 100_000))
    feed.sink.close()


def test_nothing_of_rtmp_goes_to_who_is_not_known(
    proxy: Callable[..., Any], certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """FFmpeg would send it, and the key of the stream with it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        came: list[bytes] = []

        def take() -> None:
            with contextlib.suppress(OSError):  # it is closed
                while connection := server.accept()[0]:
                    with connection:
                        came.append(connection.recv(1))

        threading.Thread(target=take, daemon=True).start()
        way = proxy(server.getsockname()[1], "--certificate", str(certificate))
        url = f"rtmps://localhost:{way.ports[0]}/live/gate"
        stranger = Feed(url)
        stranger.until(lambda: "its certificate is not trusted (self-signed" in caplog.text)
        stranger.sink.close()
        assert b"\x03" not in came  # what RTMP begins with
        feed = Feed(f"{url}?tls_ca_file={certificate}")
        feed.until(lambda: b"\x03" in came)
        feed.sink.close()
        server.shutdown(socket.SHUT_RDWR)


def test_over_srt_a_passphrase_lets_us_in_and_is_on_no_command_line(
    listen: Listen,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    command_lines: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.sinks.live.LONGEST_PAUSE_S", 0.5)
    url, word = f"srt://127.0.0.1:{free_port('srt')}?", tmp_path / "word"
    first, second = tmp_path / "a.ts", tmp_path / "b.ts"
    word.write_text("correct-horse-battery")
    feed = Feed(f"{url}password_file={word}&streamid=publish:{{source}}&latency=200ms")
    feed.until(lambda: "asked again until" in caplog.text)  # nobody is there yet
    (line,) = caplog.messages
    place = url.rstrip("?")
    assert line.startswith(f"sink {place}: Connection to {place} failed: ")
    receiver = listen(f"{url}passphrase=correct-horse-battery", first)
    feed.until(grows(first, 100_000))
    assert feed.sink.state().state == "connected"  # type: ignore[attr-defined]
    seen = [line for line in command_lines().splitlines() if "-fpre" in line and place in line]
    assert len(seen) == 1
    assert "correct-horse" not in seen[0]
    assert "publish:gate" not in seen[0]
    receiver.kill()
    receiver.wait(10)
    killed_at = feed.number
    listen(f"{url}passphrase=correct-horse-battery", second)
    feed.until(grows(second, 100_000))
    feed.sink.close()
    assert received(second)[0] > killed_at
    assert not [line for line in command_lines().splitlines() if "-fpre" in line and place in line]


def test_a_receiver_that_takes_nothing_keeps_nobody_waiting(
    listen: Listen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sinks.live.STUCK_S", 0.5)
    url, path = f"rtsp://127.0.0.1:{free_port('rtsp')}/gate", tmp_path / "a.ts"
    receiver = listen(url, path)
    feed = Feed(f"{url}?crf=1")
    feed.until(grows(path, 100_000))
    receiver.send_signal(signal.SIGSTOP)
    feed.until(lambda: feed.sink.state().state == "behind")  # type: ignore[attr-defined]
    began = time.monotonic()
    feed.sink.close()
    assert time.monotonic() - began < 3
    assert feed.slowest_s < 1
