"""The kit of sources: which promise was broken, of a file and of a camera."""

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest

from pipeline.frames import Frame
from pipeline.sources.live.arrival import Arrived
from pipeline.sources.live.live import LiveSource
from pipeline.sources.network.link import LinkError
from pipeline.stages import Outcome, Source, Status
from pipeline.testing import (
    Pause,
    ScriptedSource,
    check_source,
    make_frame,
    make_frames,
)


class Link:
    """A cable to a camera that goes on for ever; whoever cuts it finds it whole again."""

    def __init__(self) -> None:
        self.cut = threading.Event()

    def dial(self) -> Iterator[Arrived]:
        for number in itertools.count():
            if self.cut.is_set():
                self.cut.clear()
                raise LinkError("the cable")
            picture = av.VideoFrame.from_ndarray(np.zeros((4, 6, 3), np.uint8), "bgr24")
            yield Arrived(picture, number / 25, 0.0, 1000.0 + number, "arrival")


def test_a_camera_passes_through_an_outage_too() -> None:
    link = Link()

    def make() -> Source:
        return LiveSource("rtsp://cam/1", source_id="gate", dial=link.dial, backoff_s=(0.01, 0.01))

    check_source(make, interrupt=link.cut.set)


class Deaf(ScriptedSource):
    def stop(self) -> None:
        """Nobody listens."""

    def frames(self, start: Any = None) -> Any:
        for number in range(10**9):
            yield make_frame(number)


def finite(frames: list[Frame], **more: Any) -> Callable[[], Source]:
    return lambda: ScriptedSource(frames, **more)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (finite([]), "not one frame"),
        (finite([make_frame(1), make_frame(0)]), "frame 0 came after frame 1"),
        (
            finite([make_frame(0), make_frame(1, pts_s=0.0)]),
            "frame 1: 0.0 s after 0.0 s; time grows in an epoch",
        ),
        (finite([make_frame(0), make_frame(1, size=(20, 20))]), "another size"),
        (
            finite(make_frames(3), outcome=Outcome(Status.COMPLETE, None, 4)),
            "outcome.decoded is 4, 3 frames came",
        ),
        (
            finite(make_frames(3), outcome=Outcome(Status.INCOMPLETE, None, 3)),
            "incomplete without a reason",
        ),
        (finite(make_frames(2), source_id="door"), "a frame of 'cam'"),
    ],
)
def test_a_source_that_breaks_a_promise_is_told_which(
    make: Callable[[], Source], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check_source(make)


def test_a_source_that_gives_other_frames_when_resumed_is_found() -> None:
    frames = make_frames(4)
    lives = iter([frames, *[make_frames(4, start=1)] * 9])
    with pytest.raises(AssertionError, match="frame"):
        check_source(lambda: ScriptedSource(next(lives)))


def test_a_camera_that_does_not_hear_stop_is_found() -> None:
    with pytest.raises(AssertionError, match="a camera goes on after stop"):
        check_source(lambda: Deaf([], live=True))


class Camera(ScriptedSource):
    """A camera whose link was cut is back with the next frame; some of it is wrong."""

    def __init__(self, cut: threading.Event, **wrong: Any) -> None:
        super().__init__([], live=True)
        self._cut, self._wrong = cut, wrong

    def frames(self, start: Any = None) -> Iterator[Frame]:
        begin = {"epoch": 0, "index": 0, **(start or {}), **self._wrong.get("begins", {})}
        index, epoch = begin["index"], begin["epoch"]
        while not self.stopped and index < self._wrong.get("lasts", 10**9):
            if self._cut.is_set():
                self._cut.clear()
                self.reconnects += self._wrong.get("counts", 1)
                epoch += self._wrong.get("epochs", 1)
            self.skipped = {"keyframes": index * self._wrong.get("skips", 0)}
            frame = make_frame(index, epoch=epoch)
            yield replace(frame, captured_at_s=1.0, clock="arrival")
            index += 1
            self.decode_errors += self._wrong.get("heals", 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "after an outage comes frame .*, without a new epoch"),
        ({"counts": 0, "lasts": 50}, "with `reconnects` one higher: it ended by itself"),
        ({"skips": 1}, "and 1 that were skipped; the index counts them"),
        ({"heals": -1}, "decode_errors fell from"),
        ({"begins": {"index": 0}}, "told to go on counting at .* it began with frame 0"),
        ({"begins": {"epoch": 0}}, "told to go on counting at .* epoch 0"),
    ],
)
def test_a_camera_that_breaks_a_promise_is_told_which(wrong: Any, message: str) -> None:
    cut = threading.Event()
    with pytest.raises(AssertionError, match=message):
        check_source(lambda: Camera(cut, **wrong), interrupt=cut.set)


def test_a_camera_without_a_picture_is_not_waited_for_for_ever() -> None:
    def make() -> Source:
        return ScriptedSource([Pause.UNTIL_STOPPED], live=True)

    with pytest.raises(AssertionError, match=r"a first frame, and more: not within 0\.05 s"):
        check_source(make, returns_within_s=0.05)


def test_a_camera_that_keeps_its_promises_passes() -> None:
    cut = threading.Event()
    check_source(lambda: Camera(cut), interrupt=cut.set)
