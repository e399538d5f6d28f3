"""A real RTSP camera: what it sends, what it asks for, and what happens when it fails."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.errors import SourceError
from pipeline.frames import Frame
from pipeline.sources import open_source
from pipeline.sources.decoder import StreamDecoder
from pipeline.sources.live.live import LiveSource
from pipeline.stages import Status

pytestmark = [pytest.mark.servers, pytest.mark.timeout(90)]


def source(url: str, **options: Any) -> LiveSource:
    opened = open_source(url, source_id="gate", **options)
    assert isinstance(opened, LiveSource)
    return opened


class Reading:
    """A source read in a thread, its frames waited for."""

    def __init__(self, reading: LiveSource) -> None:
        self.source = reading
        self.frames: queue.Queue[Frame] = queue.Queue()
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            for frame in self.source.frames():
                self.frames.put(frame)
        except SourceError as error:
            self.error = error

    def next(self, *, epoch: int = 0, within_s: float = 15.0) -> Frame:
        """The next frame of at least this epoch."""
        deadline = time.monotonic() + within_s
        while True:
            frame = self.frames.get(timeout=max(0.01, deadline - time.monotonic()))
            if frame.epoch >= epoch:
                return frame

    def until_state(self, state: str, within_s: float = 10.0) -> None:
        deadline = time.monotonic() + within_s
        while self.source.state != state:
            assert time.monotonic() < deadline, f"it is {self.source.state}, not {state}"
            threading.Event().wait(0.02)

    def stop(self) -> float:
        """Stop it; how long that took."""
        began = time.monotonic()
        self.source.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()
        return time.monotonic() - began


@pytest.fixture
def read() -> Iterator[Callable[..., Reading]]:
    readings: list[Reading] = []

    def start(url: str, **options: Any) -> Reading:
        readings.append(Reading(source(url, **options)))
        return readings[-1]

    yield start
    for reading in readings:
        reading.stop()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_every_picture_comes_once_in_order_at_its_time(
    camera: Any, number_of: Any, transport: str
) -> None:
    reading = source(camera.url, transport=transport)
    frames = list(itertools.islice(reading.frames(), 60))
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == [(numbers[0] + i) % 250 for i in range(60)]
    assert [(frame.epoch, frame.index) for frame in frames] == [(0, i) for i in range(60)]
    steps = [later.pts_s - earlier.pts_s for earlier, later in itertools.pairwise(frames)]
    assert sum(steps) == pytest.approx(59 / 25, abs=0.2)
    assert all(0 < step < 0.3 for step in steps)
    assert reading.decode_errors == 0


def test_time_goes_on_where_the_stamps_of_rtp_begin_anew(camera: Any, number_of: Any) -> None:
    reading = source(camera.url.replace("/cam", "/wrap"))
    frames = list(itertools.islice(reading.frames(), 100))
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == [(numbers[0] + i) % 250 for i in range(100)]
    assert {frame.epoch for frame in frames} == {0}
    steps = [later.pts_s - earlier.pts_s for earlier, later in itertools.pairwise(frames)]
    assert sum(steps) == pytest.approx(99 / 25, abs=0.2)
    assert all(0 < step < 0.3 for step in steps)


def test_of_a_camera_only_key_pictures_are_decoded_where_they_are_all_that_is_wanted(
    camera: Any, number_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = StreamDecoder.decode
    monkeypatch.setattr(
        StreamDecoder, "decode", lambda self, packet: decoded.append(1) or decode(self, packet)
    )
    reading = source(camera.url, stride=25)  # a key picture a second
    frames = []
    for frame in reading.frames():
        frames.append(frame)
        if frame.index >= 175:
            reading.stop()
    numbers = [(number_of(frame.image) - number_of(frames[0].image)) % 250 for frame in frames]
    assert numbers == [frame.index for frame in frames]
    last = [frame.index for frame in frames[-3:]]
    assert [later - earlier for earlier, later in itertools.pairwise(last)] == [25, 25]
    assert len(decoded) <= len(frames) + 3
    assert sum(reading.skipped.values()) == frames[-1].index + 1 - len(frames)


def test_the_senders_clock_is_used_as_soon_as_it_is_known(camera: Any, read: Any) -> None:
    reading = read(camera.url)
    first = reading.next()
    assert first.clock == "arrival"
    while (frame := reading.next()).clock != "sender":
        assert frame.index < 500
    assert abs(frame.captured_at_s - time.time()) < 2.0  # server and client share a machine


def test_a_password_opens_the_stream_and_is_in_no_text(
    camera: Any, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"127.0.0.1:{camera.closed_port}/cam"
    for reading in (
        source(f"rtsp://user:{camera.password}@{address}"),
        source(f"rtsp://{address}", username="user", password=camera.password),
    ):
        assert next(reading.frames()).index == 0
    wrong = source(f"rtsp://user:{camera.password}x@{address}", first_connect_s=0.0)
    with pytest.raises(SourceError) as refused:
        list(wrong.frames())
    assert str(refused.value) == (
        f"gate: rtsp://***@{address}: authentication refused (401); check user name and password; "
        "gave up after 0 s"
    )
    assert camera.password not in caplog.text


@pytest.mark.parametrize(
    ("path", "reason"),
    [("none", "no such stream there (404)"), ("sound", "no video in it; it holds audio")],
)
def test_what_is_not_there_is_said(camera: Any, path: str, reason: str) -> None:
    reading = source(camera.url.replace("/cam", f"/{path}"), first_connect_s=0.0)
    with pytest.raises(SourceError) as failed:
        list(reading.frames())
    assert reason in str(failed.value)


def test_a_camera_that_died_is_back_with_a_new_epoch(
    camera: Any, read: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reading = read(camera.url)
    before = reading.next()
    camera.kill()
    refused_by = time.monotonic() + 10
    while "nothing listens on this port; next attempt in" not in caplog.text:
        assert time.monotonic() < refused_by, caplog.text
        time.sleep(0.02)
    camera.restart()
    after = reading.next(epoch=1, within_s=10)
    assert (before.epoch, after.epoch) == (0, 1)
    assert after.index > before.index
    reading.until_state("streaming")
    assert reading.source.reconnects == 1


def test_a_frozen_camera_is_noticed_and_left(camera: Any, read: Any) -> None:
    reading = read(camera.url, read_timeout_s=2.0, stall_timeout_s=0.5, open_timeout_s=2.0)
    reading.next()
    camera.freeze()
    reading.until_state("stalled")
    reading.until_state("reconnecting")
    camera.thaw()
    assert reading.next(epoch=1).epoch == 1


def test_a_short_freeze_costs_no_connection(camera: Any, read: Any) -> None:
    reading = read(camera.url, read_timeout_s=8.0, stall_timeout_s=0.5)
    first = reading.next()
    camera.freeze()
    reading.until_state("stalled")
    camera.thaw()
    reading.until_state("streaming")
    reading.stop()
    assert reading.source.reconnects == 0
    assert first.epoch == 0


def test_stop_is_heard_at_once_whatever_the_camera_does(camera: Any, read: Any) -> None:
    reading = read(camera.url)
    reading.next()
    camera.freeze()
    reading.until_state("stalled")
    assert reading.stop() < 1.0
    assert reading.source.outcome.status is Status.COMPLETE


def test_the_end_of_a_clip_is_an_outage_of_a_camera(camera: Any, read: Any) -> None:
    reading = read(camera.url.replace("/cam", "/clip"))
    assert reading.next(epoch=1, within_s=40).epoch >= 1
    assert reading.source.reconnects >= 1


@pytest.mark.parametrize("fault", ["reset", "stall", "corrupt 0.1", "throttle 2000"])
def test_a_faulty_network_is_survived(
    camera: Any, proxy: Any, read: Any, number_of: Any, fault: str
) -> None:
    way = proxy(camera.ports[0])
    reading = read(f"rtsp://127.0.0.1:{way.ports[0]}/cam", read_timeout_s=2.0, stall_timeout_s=0.5)
    first = reading.next()
    way.say(fault)
    if fault != "reset":
        threading.Event().wait(4.0)
    way.say("pass")
    while not reading.frames.empty():
        reading.frames.get()
    for epoch_of in (reading.next(within_s=30), reading.next(within_s=30)):
        assert epoch_of.epoch >= first.epoch
    reading.until_state("streaming")
    if fault.startswith("corrupt"):
        assert reading.source.decode_errors + reading.source.reconnects > 0
    if fault in ("reset", "stall"):
        assert reading.next(epoch=1).epoch == 1
    frames = [reading.next() for _ in range(5)]
    numbers = [number_of(frame.image) for frame in frames]
    assert all(number < 250 for number in numbers)
