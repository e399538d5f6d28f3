"""What the tracker promises a stream, on squares whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.tracking import PRESETS, make_tracker
from pipeline.tracking.tracker import StreamTracker

SIZE = (120, 200)
FPS = 25.0

Square = tuple[float, float, float]
"""Left, top and score of a square of 20 pixels."""


def squares(*found: Square, class_ids: Iterable[int] | None = None) -> Instances:
    """Instances of 20 × 20 pixels with their masks, cut at the frame."""
    corners = np.array([[x, y, x + 20, y + 20] for x, y, _ in found], np.float32).reshape(-1, 4)
    crops = [(int(x), int(y), np.ones((20, 20), bool)) for x, y, _ in found]
    return Instances(
        boxes=corners,
        scores=np.array([score for *_, score in found], np.float32),
        class_ids=np.array(list(class_ids or [1] * len(found)), np.int64),
        masks=Masks.from_crops(SIZE, crops),
    )


def ids(found: Instances) -> list[int]:
    return [] if found.track_ids is None else found.track_ids.tolist()


def follow(
    tracker: StreamTracker, frames: Iterable[Instances | None], *, start: int = 0
) -> list[list[int]]:
    """Ids of every frame."""
    return [
        ids(tracker.update(found, pts_s=index / FPS, image_size=SIZE))
        for index, found in enumerate(frames, start=start)
    ]


def crossing(frames: int = 40) -> list[Instances]:
    """One square goes right, one left, a hand's breadth apart when they pass."""
    return [squares((10 + 4 * i, 30, 0.95), (170 - 4 * i, 60, 0.95)) for i in range(frames)]


def test_objects_of_the_first_frame_are_published_at_once_with_ids_from_1() -> None:
    assert follow(make_tracker(), crossing(1)) == [[1, 2]]


def test_ids_stay_with_their_objects_while_they_pass_each_other() -> None:
    assert follow(make_tracker(), crossing()) == [[1, 2]] * 40


def test_what_comes_out_is_the_detection_itself_in_the_order_it_came_in() -> None:
    tracker = make_tracker()
    tracker.update(squares((10, 10, 0.9), (100, 60, 0.8)), pts_s=0, image_size=SIZE)
    found = squares((101, 60, 0.8), (12, 10, 0.9))
    out = tracker.update(found, pts_s=0.04, image_size=SIZE)
    assert ids(out) == [2, 1]
    assert np.array_equal(out.boxes, found.boxes)
    assert np.array_equal(out.scores, found.scores)
    assert out.masks.same_as(found.masks)


def test_a_low_score_continues_a_track_but_never_begins_one() -> None:
    tracker = make_tracker()
    frames = [squares((10 + i, 10, 0.9 if i < 5 else 0.3), (120, 80, 0.3)) for i in range(10)]
    assert follow(tracker, frames) == [[1]] * 10


def test_a_track_unseen_for_less_than_the_buffer_comes_back_under_its_id() -> None:
    hidden = [squares() for _ in range(15)]
    before = [squares((10 + 2 * i, 40, 0.95)) for i in range(15)]
    after = [squares((10 + 2 * i, 40, 0.95)) for i in range(30, 35)]
    assert follow(make_tracker(), [*before, *hidden, *after])[-1] == [1]


def test_after_the_buffer_it_is_somebody_else() -> None:
    tracker = make_tracker(track_buffer=0.5)
    follow(tracker, [squares((10, 40, 0.95))] * 10)
    follow(tracker, [squares()] * 20, start=10)
    assert follow(tracker, [squares((10, 40, 0.95))] * 5, start=30)[-1] == [2]


def test_motion_is_measured_in_seconds_not_in_frames() -> None:
    """12 frames are lost; at 4 pixels a frame the square is 52 pixels further, beyond overlap."""
    tracker = make_tracker()
    follow(tracker, [squares((10 + 4 * i, 40, 0.95)) for i in range(20)])
    late = tracker.update(squares((10 + 4 * 32, 40, 0.95)), pts_s=32 / FPS, image_size=SIZE)
    assert ids(late) == [1]


def test_a_moving_camera_is_taken_out() -> None:
    """The camera pans by 25 pixels a frame: without it no two boxes of the object overlap."""
    pan = np.array([[1.0, 0.0, 25.0], [0.0, 1.0, 0.0]])
    steady, panned = make_tracker(), make_tracker()
    frames = [squares((10 + 25 * i, 40, 0.95)) for i in range(7)]
    with_motion = [
        ids(panned.update(found, pts_s=i / FPS, image_size=SIZE, motion=pan if i else None))
        for i, found in enumerate(frames)
    ]
    assert with_motion == [[1]] * 7
    assert follow(steady, frames) != with_motion


def test_a_frame_that_was_not_segmented_carries_the_tracks_and_says_so() -> None:
    tracker = make_tracker()
    follow(tracker, [squares((10 + 2 * i, 40, 0.95)) for i in range(10)])
    carried = tracker.update(None, pts_s=10 / FPS, image_size=SIZE)
    assert ids(carried) == [1]
    assert carried.predicted is not None
    assert carried.predicted.tolist() == [True]
    assert carried.boxes[0].tolist() == pytest.approx([30, 40, 50, 60], abs=1.5)
    assert carried.masks.areas().tolist() == [400]


def test_nothing_is_published_until_a_track_has_reached_the_score() -> None:
    tracker = make_tracker(min_score=0.8)
    frames = [squares((10 + i, 10, 0.7 if i < 5 else 0.9)) for i in range(8)]
    assert follow(tracker, frames) == [[]] * 5 + [[1]] * 3


def test_classes_that_are_no_group_never_share_a_track() -> None:
    names = {1: "person", 2: "dog"}
    tracker = make_tracker(class_names=names)
    follow(tracker, [squares((10, 10, 0.95), class_ids=[1])] * 5)
    other = follow(tracker, [squares((10, 10, 0.95), class_ids=[2])] * 5, start=5)
    assert 1 not in {i for frame in other for i in frame}


def test_two_trackers_share_nothing() -> None:
    first, second = make_tracker(), make_tracker()
    assert follow(first, crossing(3))[-1] == [1, 2]
    assert follow(second, crossing(3))[-1] == [1, 2]
    assert follow(first, crossing(4)[3:], start=3) == [[1, 2]]


def test_a_reset_forgets_the_tracks_and_ids_go_on_counting() -> None:
    tracker = make_tracker()
    follow(tracker, crossing(3))
    tracker.reset()
    assert follow(tracker, crossing(1)) == [[3, 4]]


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_a_snapshot_taken_anywhere_and_read_back_from_json_goes_on_the_same(at: int) -> None:
    frames = crossing()
    frames[12] = squares((58, 30, 0.4))
    frames[20:24] = [squares()] * 4
    tracker = make_tracker()
    expected = follow(tracker, frames[:at])
    kept = json.loads(json.dumps(tracker.snapshot()))
    rest = [
        tracker.update(f, pts_s=(at + i) / FPS, image_size=SIZE) for i, f in enumerate(frames[at:])
    ]
    again = make_tracker()
    again.restore(kept)
    for i, (found, first) in enumerate(zip(frames[at:], rest, strict=True)):
        second = again.update(found, pts_s=(at + i) / FPS, image_size=SIZE)
        assert ids(second) == ids(first)
    assert again.snapshot() == tracker.snapshot()
    assert len(expected) == at


@pytest.mark.parametrize(
    ("box", "cause"),
    [
        pytest.param([np.nan, 0, 10, 10], "not_finite", id="nan"),
        pytest.param([0, 0, np.inf, 10], "not_finite", id="infinite"),
        pytest.param([30, 0, 10, 10], "inverted_box", id="inverted"),
        pytest.param([5, 5, 5, 9], "inverted_box", id="no-width"),
    ],
)
def test_an_impossible_box_is_left_out_and_counted(box: list[float], cause: str) -> None:
    good = squares((100, 50, 0.95), (10, 10, 0.95))
    boxes = good.boxes.copy()
    boxes[1] = box
    tracker = make_tracker()
    bad = Instances(boxes, good.scores, good.class_ids, good.masks)
    assert ids(tracker.update(bad, pts_s=0, image_size=SIZE)) == [1]
    assert +tracker.dropped == {cause: 1}


def test_time_that_stands_still_or_goes_back_does_no_harm() -> None:
    tracker = make_tracker()
    times = [0.0, 0.04, 0.04, 0.02, float("nan"), 0.06]
    found = [ids(tracker.update(squares((10, 10, 0.95)), pts_s=t, image_size=SIZE)) for t in times]
    assert found == [[1]] * 6


def test_empty_masks_are_followed_by_their_boxes() -> None:
    tracker = make_tracker()
    for i in range(5):
        found = squares((10 + 3 * i, 10, 0.95))
        empty = Masks(SIZE, np.array([SIZE[0] * SIZE[1]], np.uint32), np.array([0, 1]))
        hollow = Instances(found.boxes, found.scores, found.class_ids, empty)
        assert ids(tracker.update(hollow, pts_s=i / FPS, image_size=SIZE)) == [1]


def test_tracks_that_died_leave_nothing_behind() -> None:
    tracker = make_tracker()
    sizes = []
    for life in range(20):
        follow(tracker, [*crossing(5), *[squares()] * 100], start=life * 105)
        sizes.append(len(json.dumps(tracker.snapshot())))
    assert len(tracker.update(None, pts_s=1e4, image_size=SIZE)) == 0
    assert max(sizes) - min(sizes) < 40  # the digits of the numbers that grow


def test_thousands_at_once_are_cut_to_the_best_and_counted() -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 90, (3000, 2))
    found = squares(*[(float(x), float(y), 0.9) for x, y in corners])
    tracker = make_tracker()
    assert len(tracker.update(found, pts_s=0, image_size=SIZE)) <= 1000
    assert tracker.dropped["too_many"] == 2000


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_follows(preset: str) -> None:
    assert follow(make_tracker(preset), crossing(10))[-1] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"preset": "crwod"}, "crowd", id="preset"),
        pytest.param({"track_bufer": 1}, "track_buffer", id="key"),
        pytest.param({"track_high_thresh": 2}, "track_high_thresh", id="range"),
    ],
)
def test_a_wrong_setting_names_the_right_one(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_tracker(**arguments)  # type: ignore[arg-type]
