"""`check_tracker`: whether something keeps what `pipeline.stages.Tracker` promises."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.instances import Instances
from pipeline.stages import SnapshotRefused, Tracker
from pipeline.testing.promise import promised

FPS = 10.0
LEAP = 1_000_000


def check_tracker(make: Callable[[], Tracker], frames: Sequence[Instances]) -> None:
    """Use a tracker as a stream does, through a reset and a crash.

    Args:
        make: a tracker without any past; called several times.
        frames: what was segmented in ten frames or more, a tenth of a second apart.

    Raises:
        AssertionError: a promise was broken; the message says which.
    """
    promised(len(frames) >= 10, f"check_tracker needs ten frames or more, got {len(frames)}")
    given = _ids_are_never_given_twice(make(), frames)
    promised(given, "no track in any frame; check_tracker needs frames in which something is found")
    _goes_on_from_a_snapshot(make, frames)
    _refuses_what_is_not_its_own(make(), frames)
    _carries_what_was_not_segmented(make(), frames)


def _ids_are_never_given_twice(tracker: Tracker, frames: Sequence[Instances]) -> set[int]:
    before: set[int] = set()
    for number, shown in enumerate(_follow(tracker, frames)):
        _fits(shown, frames[number], number)
        before |= set(_ids(shown))
    promised(not before or min(before) >= 1, f"track ids begin at 1, got {min(before, default=1)}")
    _knows_its_next(tracker, before)
    _leaps(tracker)
    tracker.reset()
    after = {track for shown in _follow(tracker, frames) for track in _ids(shown)}
    promised(not before & after, f"after reset() the ids {sorted(before & after)} came again")
    skipped = {track for track in after if track < LEAP}
    promised(not skipped, f"after skip_ids({LEAP}) came the ids {sorted(skipped)}")
    return before


def _fits(shown: Instances, segmented: Instances, number: int) -> None:
    promised(shown.track_ids is not None, f"frame {number}: track_ids is None")
    ids = _ids(shown)
    promised(len(set(ids)) == len(ids), f"frame {number}: a track id twice in one frame: {ids}")
    promised(
        shown.masks.size == segmented.masks.size,
        f"frame {number}: masks of size {shown.masks.size}, the picture has {segmented.masks.size}",
    )


def _knows_its_next(tracker: Tracker, given: set[int]) -> None:
    promised(
        tracker.next_id > max(given, default=0),
        f"next_id is {tracker.next_id}, {max(given, default=0)} was given already",
    )


def _leaps(tracker: Tracker) -> None:
    """Ids that may have been given before are left out, and none is taken back."""
    tracker.skip_ids(LEAP)
    tracker.skip_ids(1)
    promised(
        tracker.next_id == LEAP,
        f"after skip_ids({LEAP}) and skip_ids(1) next_id is {tracker.next_id}, not {LEAP}",
    )


def _refuses_what_is_not_its_own(tracker: Tracker, frames: Sequence[Instances]) -> None:
    _follow(tracker, frames)
    before = json.dumps(tracker.snapshot())
    try:
        tracker.restore({})
    except SnapshotRefused:
        promised(
            json.dumps(tracker.snapshot()) == before,
            "a snapshot was refused, yet changed something",
        )
        return
    raise AssertionError("restore() of an empty snapshot has to raise SnapshotRefused")


def _goes_on_from_a_snapshot(make: Callable[[], Tracker], frames: Sequence[Instances]) -> None:
    """A stream that was cut off ends with the same bytes as one that was not."""
    for cut in (1, len(frames) // 2, len(frames) - 1):
        whole, first = make(), make()
        expected = _follow(whole, frames)[cut:]
        _follow(first, frames[:cut])
        second = make()
        second.restore(json.loads(json.dumps(first.snapshot())))
        for number, (mine, theirs) in enumerate(
            zip(expected, _follow(second, frames[cut:], start=cut), strict=True), start=cut
        ):
            promised(
                _same(mine, theirs),
                f"frame {number}: other instances after snapshot() and restore() at frame {cut}",
            )


def _carries_what_was_not_segmented(tracker: Tracker, frames: Sequence[Instances]) -> None:
    _follow(tracker, frames)
    shown = tracker.update(None, pts_s=len(frames) / FPS, image_size=frames[-1].masks.size)
    promised(
        shown.predicted is not None and shown.predicted.all(),
        "update(None) has to give carried instances, each marked `predicted`",
    )


def _follow(tracker: Tracker, frames: Sequence[Instances], start: int = 0) -> list[Instances]:
    return [
        tracker.update(found, pts_s=number / FPS, image_size=found.masks.size)
        for number, found in enumerate(frames, start=start)
    ]


def _ids(shown: Instances) -> list[int]:
    return [] if shown.track_ids is None else shown.track_ids.tolist()


def _same(one: Instances, other: Instances) -> bool:
    return (
        _ids(one) == _ids(other)
        and np.array_equal(one.boxes, other.boxes)
        and np.array_equal(one.scores, other.scores)
        and np.array_equal(one.class_ids, other.class_ids)
        and one.masks.same_as(other.masks)
    )
