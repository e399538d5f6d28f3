"""A live source connects, notices silence, connects again, and always hears `stop`."""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.frames import Frame
from pipeline.sources.live.arrival import Arrived
from pipeline.sources.live.backoff import Backoff
from pipeline.sources.live.connection import DamageGate
from pipeline.sources.live.dialling import MAX_LEFT_BEHIND
from pipeline.sources.live.live import LiveSource
from pipeline.sources.live.opening import LinkError
from pipeline.stages import Status


def arrived(pts_s: float | None, size: tuple[int, int] = (4, 6), clock: Any = "arrival") -> Arrived:
    frame = av.VideoFrame.from_ndarray(np.zeros((*size, 3), np.uint8), "bgr24")
    return Arrived(frame, pts_s, 0.1, 1000.0 + (pts_s or 0), clock)


class Camera:
    """Plays one script a connection: pictures, `wait` for a hang, an error to raise.

    A script that runs out ends like a recording; a connection beyond the last script hangs.
    """

    wait = "wait"

    def __init__(self, *scripts: list[Any]) -> None:
        self.scripts = list(scripts)
        self.dialled = 0
        self.dials: queue.Queue[int] = queue.Queue()
        self.release = threading.Event()

    def dial(self) -> Iterator[Arrived]:
        number, self.dialled = self.dialled, self.dialled + 1
        self.dials.put(number)
        for step in self.scripts[number] if number < len(self.scripts) else [self.wait]:
            if step == self.wait:
                self.release.wait(30)
                return
            if isinstance(step, Exception):
                raise step
            yield step


@pytest.fixture
def live() -> Iterator[Callable[..., LiveSource]]:
    cameras = []

    def make(camera: Camera, **options: Any) -> LiveSource:
        cameras.append(camera)
        options = {"backoff_s": (0.01, 0.01), **options}
        return LiveSource(
            "rtsp://user:hunter22@cam/1", source_id="gate", dial=camera.dial, **options
        )

    yield make
    for camera in cameras:
        camera.release.set()


class Listener(logging.Handler):
    """Lets a test wait for a line of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: queue.Queue[str] = queue.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.put(record.getMessage())

    def wait_for(self, text: str) -> str:
        while text not in (line := self.lines.get(timeout=10)):
            continue
        return line


@pytest.fixture
def spoken() -> Iterator[Listener]:
    listener, logger = Listener(), logging.getLogger("pipeline.sources.live.news")
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    yield listener
    logger.removeHandler(listener)
    logger.setLevel(logging.NOTSET)


def places(frames: list[Frame]) -> list[tuple[int, int, float]]:
    return [(frame.epoch, frame.index, round(frame.pts_s, 6)) for frame in frames]


def test_frames_come_as_they_are_sent_until_the_recording_ends(live: Any) -> None:
    source = live(Camera([arrived(7.0), arrived(7.1, clock="sender"), arrived(7.2)]))
    assert (source.live, source.state) == (True, "connecting")
    frames = list(source.frames())
    assert places(frames) == [(0, 0, 7.0), (0, 1, 7.1), (0, 2, 7.2)]
    assert [frame.clock for frame in frames] == ["arrival", "sender", "arrival"]
    assert [frame.captured_at_s for frame in frames] == [1007.0, 1007.1, 1007.2]
    assert source.state == "ended"
    assert (source.outcome.status, source.outcome.decoded) == (Status.COMPLETE, 3)
    assert source.reconnects == 0


def test_while_pictures_come_it_is_streaming(live: Any) -> None:
    source = live(Camera([arrived(0.0), Camera.wait]))
    frames = source.frames()
    next(frames)
    assert source.state == "streaming"
    source.stop()
    assert list(frames) == []


def test_a_connection_that_breaks_is_made_again_as_a_new_epoch(live: Any, spoken: Any) -> None:
    source = live(
        Camera([arrived(5.0), LinkError("connection reset")], [arrived(5.1), arrived(5.2)])
    )
    frames = source.frames()
    came = [next(frames), next(frames)]
    assert (source.state, source.why) == ("streaming", None)  # it is again
    assert places([*came, *frames]) == [(0, 0, 5.0), (1, 1, 5.1), (1, 2, 5.2)]
    assert source.reconnects == 1
    line = spoken.wait_for("connection reset")
    assert line == "gate: rtsp://***@cam/1: connection reset; next attempt in 0.0 s"
    spoken.wait_for("gate: rtsp://***@cam/1: pictures again after 1 attempts")


def test_attempts_in_vain_are_no_outage_that_was_survived(live: Any) -> None:
    refused = LinkError("connection refused")
    source = live(Camera([refused], [refused], [arrived(0.0)]))
    assert places(list(source.frames())) == [(0, 0, 0.0)]
    assert source.reconnects == 0


@pytest.mark.parametrize("before", [1, 0])
def test_silence_is_noticed_and_the_hanging_read_left_behind(
    live: Any, spoken: Any, before: int
) -> None:
    camera = Camera([arrived(0.0)] * before + [Camera.wait], [arrived(9.0)])
    source = live(camera, open_timeout_s=0.05, read_timeout_s=0.6, stall_timeout_s=0.1)
    frames = []
    for frame in source.frames():
        frames.append(frame)
        assert source.left_behind == (1 if frame.pts_s == 9.0 else 0)
    assert [frame.pts_s for frame in frames] == [0.0, 9.0][1 - before :]
    if before:
        spoken.wait_for("gate: rtsp://***@cam/1: no picture for 0.")
    spoken.wait_for("next attempt in")


def test_a_stalled_stream_that_goes_on_is_streaming_again(live: Any, spoken: Any) -> None:
    camera = Camera([arrived(0.0), Camera.wait])
    source = live(camera, read_timeout_s=20.0, stall_timeout_s=0.05)
    states: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for _ in source.frames():
            pass
        states.put(source.state)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    spoken.wait_for("no picture for")
    camera.release.set()
    assert states.get(timeout=10) == "ended"


def test_not_more_than_a_few_reads_may_hang(live: Any, spoken: Any) -> None:
    camera = Camera()
    source = live(camera, open_timeout_s=0.01, read_timeout_s=0.02)
    thread = threading.Thread(target=lambda: list(source.frames()), daemon=True)
    thread.start()
    spoken.wait_for(f"{MAX_LEFT_BEHIND} reads hang in the system")
    assert camera.dialled == MAX_LEFT_BEHIND
    camera.release.set()
    while camera.dials.get(timeout=10) < MAX_LEFT_BEHIND:
        continue
    source.stop()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        pytest.param([Camera.wait], Status.COMPLETE, None, id="hanging"),
        pytest.param(
            [LinkError("refused", patient=True)],
            Status.INCOMPLETE,
            "no picture ever came: refused",
            id="waiting",
        ),
    ],
)
def test_stop_is_heard_whatever_it_does(
    live: Any, spoken: Any, script: list[Any], status: Status, reason: str | None
) -> None:
    camera = Camera(script)
    source = live(camera)
    thread = threading.Thread(target=lambda: list(source.frames()), daemon=True)
    thread.start()
    camera.dials.get(timeout=10)
    if reason is not None:
        spoken.wait_for("next attempt in")
    source.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert (source.outcome.status, source.outcome.reason) == (status, reason)


def test_stop_before_the_start_connects_to_nothing(live: Any) -> None:
    camera = Camera([arrived(0.0)])
    source = live(camera)
    source.stop()
    assert list(source.frames()) == []
    assert camera.dialled == 0


def test_a_refusal_that_will_last_is_not_asked_again_soon(live: Any, spoken: Any) -> None:
    source = live(Camera([LinkError("authentication refused (401)", patient=True)]))
    thread = threading.Thread(target=lambda: list(source.frames()), daemon=True)
    thread.start()
    line = spoken.wait_for("authentication refused")
    assert (source.state, source.why) == ("connecting", "authentication refused (401)")
    source.stop()
    assert line.endswith("next attempt in 30.0 s")
    assert "hunter22" not in line


def test_what_has_worked_before_is_asked_again_soon_after_a_refusal_or_two(
    live: Any, spoken: Any
) -> None:
    refusal = LinkError("no such stream there (404)", patient=True)
    soon = [[arrived(0.0), LinkError("reset")], [refusal], [refusal], [arrived(0.1), refusal]]
    source = live(Camera(*soon, [refusal], [refusal], [Camera.wait]))
    thread = threading.Thread(target=lambda: list(source.frames()), daemon=True)
    thread.start()
    lines = [spoken.wait_for("next attempt in") for _ in range(6)]
    source.stop()
    pauses = [line.rpartition("next attempt in ")[2] for line in lines]
    assert pauses == ["0.0 s"] * 5 + ["30.0 s"]


def test_a_first_connection_may_have_a_limit(live: Any) -> None:
    source = live(Camera([LinkError("connection refused")]), first_connect_s=0.0)
    with pytest.raises(SourceError) as failed:
        list(source.frames())
    assert str(failed.value) == ("gate: rtsp://***@cam/1: connection refused; gave up after 0 s")
    assert (source.state, source.outcome.status) == ("failed", Status.FAILED)
    assert source.outcome.reason == str(failed.value)


def test_the_limit_of_the_first_connection_is_no_limit_of_later_ones(live: Any) -> None:
    camera = Camera([arrived(0.0), LinkError("reset")], [LinkError("refused")], [arrived(0.1)])
    assert len(list(live(camera, first_connect_s=0.0).frames())) == 2


def test_a_bug_in_a_reader_is_an_outage_not_an_end(live: Any, spoken: Any, caplog: Any) -> None:
    caplog.set_level(logging.CRITICAL, "pipeline.sources.live.reader")
    source = live(Camera([ValueError("boom hunter22")], [arrived(0.0)]))
    assert len(list(source.frames())) == 1
    assert "ValueError: boom ***; next attempt" in spoken.wait_for("boom")


def test_time_that_breaks_and_pictures_that_grow_start_epochs(live: Any) -> None:
    source = live(Camera([*map(arrived, (0.0, 0.1, 8.0, 8.1, 2.0)), arrived(2.1, (8, 6))]))
    frames = list(source.frames())
    assert [frame.epoch for frame in frames] == [0, 0, 1, 1, 2, 3]
    assert [frame.index for frame in frames] == list(range(6))
    assert frames[-1].size == (8, 6)


def test_a_restarted_run_goes_on_counting(live: Any) -> None:
    source = live(Camera([arrived(0.0), LinkError("reset")], [arrived(0.1)]))
    frames = list(source.frames({"epoch": 4, "index": 100}))
    assert places(frames) == [(4, 100, 0.0), (5, 101, 0.1)]


def test_leaving_the_loop_leaves_the_reader(live: Any) -> None:
    camera = Camera([arrived(float(i)) for i in range(100)])
    source = live(camera)
    frames = source.frames()
    next(frames)
    frames.close()
    assert source.left_behind in (0, 1)
    source._dialling._left[0]._thread.join(10)
    assert source.left_behind == 0


def test_pauses_grow_and_are_jittered() -> None:
    backoff = Backoff(0.3, 2.0, rng=random.Random(1))
    pauses = [backoff.next() for _ in range(200)]
    for pause, due in zip(pauses, [0.3, 0.6, 1.2, *[2.0] * 197], strict=True):
        assert 0.75 * due <= pause <= 1.25 * due
    assert len(set(pauses)) == 200
    backoff.reset()
    assert backoff.next() <= 0.375


def test_what_is_built_on_damage_is_held_back_until_the_next_key_picture() -> None:
    gate = DamageGate()
    steps = [(False, True), (False, False), (True, False), (False, False), (False, True)]
    steps += [(False, False), (True, True), (False, False)]
    shown = [gate.admits(damaged=d, key=k, at_s=i * 0.1) for i, (d, k) in enumerate(steps)]
    assert shown == [True, True, False, False, True, True, False, False]


def test_a_stream_without_key_pictures_comes_back_after_a_while() -> None:
    gate = DamageGate(hold_s=1.0)
    assert not gate.admits(damaged=True, key=False, at_s=0.0)
    assert not gate.admits(damaged=False, key=False, at_s=0.9)
    assert not gate.admits(damaged=True, key=False, at_s=1.0)
    assert not gate.admits(damaged=False, key=False, at_s=1.9)
    assert gate.admits(damaged=False, key=False, at_s=2.0)
    assert gate.admits(damaged=False, key=False, at_s=2.1)
