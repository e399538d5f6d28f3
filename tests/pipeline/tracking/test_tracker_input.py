"""What a tracker does with what nobody should have sent it."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.instances import Instances
from pipeline.tracking import make_tracker
from pipeline.tracking.detections import MAX_DETECTIONS
from pipeline.tracking.life import MAX_TRACKS

Make = Callable[..., Instances]
SIZE = (200, 300)
GOOD = (10.0, 50.0, 30.0, 90.0)


@pytest.mark.parametrize(
    ("bad", "score", "cause"),
    [
        pytest.param((np.nan, 50.0, 30.0, 90.0), 0.9, "not_finite", id="nan"),
        pytest.param((10.0, 50.0, np.inf, 90.0), 0.9, "not_finite", id="infinite"),
        pytest.param(GOOD, np.nan, "not_finite", id="nan-score"),
        pytest.param((30.0, 50.0, 10.0, 90.0), 0.9, "inverted_box", id="inverted"),
        pytest.param((10.0, 50.0, 10.0, 90.0), 0.9, "inverted_box", id="no-width"),
    ],
)
def test_unusable_detections_are_left_out_and_counted_by_cause(
    rectangles: Make, bad: tuple[float, ...], score: float, cause: str
) -> None:
    tracker = make_tracker()
    for frame in range(3):
        found = rectangles([bad, (100.0, 50.0, 120.0, 90.0)], scores=[score, 0.9])
        shown = tracker.update(found, pts_s=frame / 30, image_size=SIZE)
        assert shown.boxes[:, 0].tolist() == [100.0]
    assert {k: n for k, n in tracker.dropped.items() if n} == {cause: 3}


def test_masks_may_be_empty(rectangles: Make) -> None:
    tracker = make_tracker()
    for frame in range(3):
        found = rectangles([GOOD, (100.0, 50.0, 120.0, 90.0)], masks=False)
        shown = tracker.update(found, pts_s=frame / 30, image_size=SIZE)
        assert shown.track_ids.tolist() == [1, 2]
    mixed = rectangles([GOOD])
    assert tracker.update(mixed, pts_s=0.1, image_size=SIZE).track_ids.tolist() == [1]


def test_nothing_for_minutes_and_then_someone(rectangles: Make) -> None:
    tracker = make_tracker()
    tracker.update(rectangles([GOOD]), pts_s=0.0, image_size=SIZE)
    for frame in range(1, 2000):
        shown = tracker.update(rectangles([]), pts_s=frame / 10, image_size=SIZE)
        assert len(shown) == 0
        assert shown.track_ids is not None
    for frame in range(2):
        shown = tracker.update(rectangles([GOOD]), pts_s=200 + frame / 10, image_size=SIZE)
    assert shown.track_ids.tolist() == [2]


def test_of_thousands_in_one_frame_the_surest_are_followed(rectangles: Make) -> None:
    rng = np.random.default_rng(0)
    n, size = MAX_DETECTIONS + 500, (2000, 3000)
    corner = rng.uniform(0, 1900, (n, 2))
    boxes = np.concatenate((corner, corner + 20), axis=1)
    scores = rng.uniform(0.7, 1.0, n)
    found = rectangles(boxes.tolist(), scores=scores, masks=False, size=size)
    tracker = make_tracker()
    shown = tracker.update(found, pts_s=0.0, image_size=size)
    assert len(shown) == MAX_DETECTIONS
    assert shown.scores.min() >= np.sort(scores)[500] - 1e-6
    assert tracker.dropped["too_many"] == 500


@pytest.mark.parametrize(
    "times",
    [
        pytest.param([1.0, 1.1, 0.2, 0.3, 0.4], id="backwards"),
        pytest.param([1.0, 1.0, 1.0, 1.0, 1.0], id="standing-still"),
        pytest.param([1.0, float("nan"), 1.1, float("nan"), 1.2], id="nan"),
        pytest.param([0.0, 1e9, 2e9, 2e9, 3e9], id="huge"),
    ],
)
def test_strange_time_stamps_do_no_harm(rectangles: Make, times: list[float]) -> None:
    tracker = make_tracker(track_buffer=3600.0)
    for pts_s in times:
        shown = tracker.update(rectangles([GOOD]), pts_s=pts_s, image_size=SIZE)
        assert np.isfinite(shown.boxes).all()
        json.dumps(tracker.snapshot(), allow_nan=False)
    if max(times) < 1e6:
        assert shown.track_ids.tolist() == [1]


def test_a_new_picture_size_begins_anew_and_ids_go_on(rectangles: Make) -> None:
    tracker = make_tracker()
    tracker.update(rectangles([GOOD]), pts_s=0.0, image_size=SIZE)
    found = rectangles([GOOD], size=(400, 600))
    shown = tracker.update(found, pts_s=0.1, image_size=(400, 600))
    assert shown.track_ids.tolist() == [2]


@pytest.mark.parametrize("standing", [False, True], ids=["time-goes-on", "time-stands-still"])
def test_births_and_deaths_for_ever_leave_nothing_behind(rectangles: Make, standing: bool) -> None:
    tracker = make_tracker(track_buffer=0.2)
    rng = np.random.default_rng(3)
    sizes = []
    for frame in range(300):
        x, y = rng.uniform(0, 260), rng.uniform(0, 150)
        found = rectangles([(x, y, x + 15, y + 30)])
        tracker.update(found, pts_s=0.0 if standing else frame / 10, image_size=SIZE)
        sizes.append(len(json.dumps(tracker.snapshot())))
    assert max(sizes[150:]) <= 1.3 * max(sizes[:150])


def test_the_number_of_tracks_is_bounded(rectangles: Make) -> None:
    tracker = make_tracker(track_buffer=3600.0, confirm_within=3600.0)
    size = (4000, 4000)
    for frame in range(4):
        rng = np.random.default_rng(frame)
        corner = rng.uniform(0, 3900, (900, 2))
        boxes = np.concatenate((corner, corner + 9), axis=1)
        found = rectangles(boxes.tolist(), masks=False, size=size)
        tracker.update(found, pts_s=frame * 1.0, image_size=size)
    assert len(tracker.snapshot()["tracks"]["masks"]) == MAX_TRACKS
