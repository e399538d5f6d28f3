"""`check_source`: whether something keeps what `pipeline.stages.Source` promises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from pipeline.frames import Frame
from pipeline.stages import Source, Status
from pipeline.testing.live_kit import check_live
from pipeline.testing.promise import promised, within

STOPS_WITHIN_S = 5.0
RETURNS_WITHIN_S = 30.0


def check_source(
    make: Callable[[], Source],
    *,
    interrupt: Callable[[], object] | None = None,
    stops_within_s: float = STOPS_WITHIN_S,
    returns_within_s: float = RETURNS_WITHIN_S,
) -> None:
    """Read a source as a stream does: to its end, from the middle, and until it is stopped.

    A camera has no end: it is watched, through an outage too, and begun again where it only goes on
    counting.

    Args:
        make: opens it anew; one that is not live has to give the same frames every time.
        interrupt: breaks the link of the camera that was opened last, once; None tries no outage.
        stops_within_s: time `stop` may take to be heard.
        returns_within_s: time a camera may take to its first frame, and back from an outage.

    Raises:
        AssertionError: a promise was broken; the message says which.
    """
    source = make()
    if source.live:
        frames = check_live(
            source,
            make,
            interrupt=interrupt,
            stops_within_s=stops_within_s,
            returns_within_s=returns_within_s,
        )
    else:
        frames = list(source.frames())
        promised(frames, "not one frame; check_source needs a source with some")
    _in_order(source, frames)
    if not source.live:
        _ended_well(source, len(frames))
        _goes_on_in_the_middle(make, frames)
    _hears_stop(make, stops_within_s)


def _in_order(source: Source, frames: list[Frame]) -> None:
    for before, after in pairwise(frames):
        promised(
            after.index > before.index,
            f"frame {after.index} came after frame {before.index}; numbers grow over all epochs",
        )
        promised(
            after.epoch > before.epoch
            or (after.epoch == before.epoch and after.pts_s > before.pts_s),
            f"frame {after.index}: {after.pts_s} s after {before.pts_s} s; time grows in an epoch",
        )
        promised(
            after.size == before.size or after.epoch > before.epoch,
            f"frame {after.index} has another size than the one before it, without a new epoch",
        )
    for frame in frames:
        promised(frame.source_id == source.source_id, f"a frame of {frame.source_id!r}")
        promised((frame.captured_at_s is not None) == source.live, "captured_at_s is for cameras")


def _ended_well(source: Source, count: int) -> None:
    outcome = source.outcome
    promised(outcome.decoded == count, f"outcome.decoded is {outcome.decoded}, {count} frames came")
    promised(
        outcome.status is Status.COMPLETE or outcome.reason,
        f"the outcome is {outcome.status} without a reason",
    )


def _goes_on_in_the_middle(make: Callable[[], Source], frames: list[Frame]) -> None:
    for at in sorted({0, len(frames) // 2, len(frames) - 1}):
        first = frames[at]
        again = list(make().frames({"epoch": first.epoch, "index": first.index}))
        promised(
            len(again) == len(frames) - at,
            f"{len(again)} frames from frame {first.index} on, there were {len(frames) - at}",
        )
        for mine, theirs in zip(again, frames[at:], strict=True):
            same = (mine.index, mine.epoch, mine.pts_s) == (
                *(theirs.index, theirs.epoch, theirs.pts_s),
            ) and np.array_equal(mine.image, theirs.image)
            promised(same, f"frame {theirs.index} is another one when read from {first.index} on")


def _hears_stop(make: Callable[[], Source], stops_within_s: float) -> None:
    early = make()
    early.stop()
    with within(stops_within_s, "a source that was stopped before it began"):
        promised(len(list(early.frames())) <= 1, "a source that was stopped gives frames")
    source = make()
    begun, ended = threading.Event(), threading.Event()

    def read() -> None:
        for _ in source.frames():
            begun.set()
        ended.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    begun.wait(stops_within_s)
    source.stop()
    source.stop()  # safe to call twice
    promised(ended.wait(stops_within_s), f"stop() was not heard within {stops_within_s:g} s")
    thread.join()
