"""What is kept of tracks that came and went, for who looks."""

from collections import deque
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from pipeline.events.kept import CROPS_BYTES, KEPT, LOOK_EVERY_S, KeptEvents, TrackEvent, bound
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.testing.doubles import ManualClock

SIZE = (40, 60)
IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
LABELS = {3: "car"}
PICTURE = Picture(IMAGE, Instances.empty(SIZE), LABELS, lambda image, _, __: image.copy())
EVENT = TrackEvent(
    key="k-1",
    number=1,
    life="r:gate:7:0",
    kind="new",
    at_s=0.0,
    source_id="gate",
    epoch=0,
    frame=0,
    pts_s=0.0,
    captured_at=None,
    track=7,
    label="car",
    class_id=3,
    score=0.5,
    duration_s=0.0,
    reason=None,
    jpeg=b"JPEG",
)


def result(pts_s: float, *tracks: int, tracked: bool = True) -> FrameResult:
    """A frame with a square of ten pixels a track, side by side."""
    dense = np.zeros((len(tracks), *SIZE), bool)
    boxes = np.zeros((len(tracks), 4), np.float32)
    for row in range(len(tracks)):
        x = 5 + 12 * row
        dense[row, 20:30, x : x + 10] = True
        boxes[row] = x, 20, x + 10, 30
    instances = Instances(
        boxes,
        np.full(len(tracks), 0.5, np.float32),
        np.full(len(tracks), 3),
        Masks.from_dense(dense),
        track_ids=np.array(tracks, np.int64) if tracked else None,
    )
    return FrameResult(
        run="r",
        source_id="gate",
        epoch=0,
        index=round(4 * pts_s),
        pts_s=pts_s,
        captured_at_s=None,
        clock=None,
        size=SIZE,
        model="blob",
        instances=instances,
        labels=LABELS,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def kept(clock: ManualClock) -> KeptEvents:
    return KeptEvents(lambda image, box: b"JPEG of %d" % box[0], clock=clock)


@pytest.fixture
def see(kept: KeptEvents, clock: ManualClock) -> Any:
    def frame(shown: FrameResult) -> None:
        clock.advance(LOOK_EVERY_S)
        kept.see(shown, PICTURE)

    return frame


def told(events: tuple[TrackEvent, ...]) -> list[tuple[int, str, int, bytes | None]]:
    return [(event.number, event.kind, event.track, event.jpeg) for event in events]


def test_tracks_come_and_go_with_the_picture_of_their_best_view(kept: KeptEvents, see: Any) -> None:
    for shown in (result(0.0, 7), result(1.0, 7, 8), result(2.0, 8), result(3.25, 8)):
        see(shown)
    events = kept.since(None)
    assert told(events) == [
        (1, "new", 7, b"JPEG of 5"),
        (2, "new", 8, b"JPEG of 17"),
        (3, "end", 7, b"JPEG of 5"),
    ]
    assert events[2].life == events[0].life == "r:gate:7:0"
    assert (events[2].duration_s, events[2].reason, events[2].frame) == (1.0, "gone", 13)
    assert (events[0].label, events[0].class_id, events[0].score) == ("car", 3, 0.5)
    assert kept.since(events[1].key) == events[2:]
    assert kept.since(events[2].key) == ()
    assert kept.since("of another worker-1") == events


def test_a_few_frames_a_second_are_looked_at_and_no_more(
    kept: KeptEvents, clock: ManualClock
) -> None:
    kept.see(result(0.0, 1), PICTURE)
    clock.advance(LOOK_EVERY_S / 2)
    kept.see(result(0.25, 2), PICTURE)
    clock.advance(LOOK_EVERY_S / 2)
    kept.see(result(0.5, 3), PICTURE)
    assert [event.track for event in kept.since(None)] == [1, 3]


def test_whatever_goes_wrong_the_stream_goes_on_and_nothing_more_is_kept(
    clock: ManualClock, see: Any, kept: KeptEvents, caplog: pytest.LogCaptureFixture
) -> None:
    see(result(0.0, 1))
    see(result(1.0, 2, tracked=False))
    see(result(2.0, 3))
    assert [event.track for event in kept.since(None)] == [1]
    assert [record.message for record in caplog.records] == ["events of tracks are kept no more"]


def test_events_and_the_bytes_of_their_pictures_are_bounded_the_oldest_go() -> None:
    events = deque(replace(EVENT, number=number, jpeg=None) for number in range(KEPT + 2))
    bound(events)
    assert [events[0].number, len(events)] == [2, KEPT]
    large = partial(replace, EVENT, jpeg=bytes(CROPS_BYTES // 2))
    events = deque([large(number=1), replace(EVENT, jpeg=None), large(number=3), large(number=4)])
    bound(events)
    assert [event.jpeg is not None for event in events] == [False, False, True, True]
