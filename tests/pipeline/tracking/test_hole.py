"""What belongs together after a hole in a stream."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.instances import Instances
from pipeline.masks.spans import Spans
from pipeline.tracking import hole, kalman, life, make_tracker, neighbours
from pipeline.tracking.detections import Detections
from pipeline.tracking.likeness import UNLIKE, Likeness
from pipeline.tracking.reach import Reach, nearness

Make = Callable[..., Instances]
SIZE = (200, 300)
PLACES = np.array([[50.0, 100.0, 20.0, 40.0], [90.0, 100.0, 20.0, 40.0], [250.0, 90.0, 20.0, 40.0]])


def boxes(*centres: tuple[float, float], height: float = 40.0) -> list[tuple[float, ...]]:
    return [(x - 10, y - height / 2, x + 10, y + height / 2) for x, y in centres]


def ids_of(instances: Instances) -> list[int]:
    assert instances.track_ids is not None
    return list(instances.track_ids.tolist())


def after(hole_s: float, seen: Instances, then: Instances, looks: int = 20) -> list[int]:
    """The ids in `then`, `hole_s` after the last of many looks at `seen`, 30 a second."""
    tracker = make_tracker()
    for i in range(looks):
        tracker.update(seen, pts_s=i / 30, image_size=SIZE)
    return ids_of(tracker.update(then, pts_s=(looks - 1) / 30 + hole_s, image_size=SIZE))


def test_nearness_by_hand() -> None:
    reach = Reach(start=0.5, pace=4.0, level=0.5, heights=0.5, growth=0.25, widths=0.1)
    track = np.array([[100.0, 50.0, 20.0, 40.0]])
    found = np.array(
        [
            [100.0, 50.0, 20.0, 40.0],
            [130.0, 50.0, 20.0, 40.0],  # one own size aside, of 0.5 + 4 * 0.25 * 2 in reach
            [100.0, 60.0, 20.0, 40.0],  # a quarter of its height too low, of a half
            [100.0, 50.0, 20.0, 40.0 * np.e],  # an e too high, of 0.5 + 0.25 * 2
            [100.0, 50.0, 20.0 / np.e, 40.0],
        ]
    )
    near = nearness(track, found, reach, unseen_s=np.array([2.0]), pace=0.25)
    assert near[0] == pytest.approx([1.0, 1 - 1 / 2.5, 0.5, 0.0, 0.9])


def test_overlap_and_nearness_make_one_number(rectangles: Make) -> None:
    # Three detections: at the place; there but a tenth as high; out of reach and of other height.
    tracker = make_tracker()
    tracker.update(rectangles(boxes((100, 100))), pts_s=0.0, image_size=SIZE)
    tracks = tracker._tracks
    centred = np.array([[100.0, 100, 20, 40], [100, 100, 20, 4], [280, 20, 20, 4]])
    found = rectangles([(0.0, 0.0, 9.0, 9.0)] * 3)
    detections = Detections(
        rows=np.arange(3),
        boxes=kalman.to_corners(centred),
        centred=centred,
        scores=np.ones(3),
        columns=np.zeros(3, np.int64),
        groups=np.zeros(3, np.int64),
        spans=Spans.of(found.masks),
        embeddings=None,
    )
    like = Likeness(np.array([[0.5, 0.2, 0.0]]), np.array([[0.4, -0.3, -0.3]]), None)
    times = {"unseen_s": np.array([0.5]), "missed_s": np.array([0.25])}
    both = hole.alike(tracks, detections, like, **times, pace=0.1)
    assert both[0, 0] == pytest.approx(hole.OVERLAP * 0.4 + 1.0 - hole.ABSENCE * 0.25)
    assert both[0, 1:].tolist() == [hole.LEAST_ALIKE, UNLIKE]


def test_evidence_of_a_newcomer_is_bounded_however_long_nobody_looked(rectangles: Make) -> None:
    tracker = make_tracker()
    tracker.update(rectangles(boxes((50, 100))), pts_s=0.0, image_size=SIZE)
    tracker.update(rectangles(boxes((250, 100))), pts_s=1e6, image_size=SIZE)
    assert tracker.snapshot()["tracks"]["columns"]["evidence"] == [[life.MOST]]


def test_neighbours_that_agree_tell_how_far_an_object_moved() -> None:
    # Weights: exp(-40 / 120) for the one at 40 px, exp(-160 / 120) for the one at 160.
    moves = np.array([[30.0, 0.0], [30.0, 0.0]])
    told = neighbours.shared(PLACES[[0, 2]], moves, PLACES[1:2])
    total = np.exp(-40 / 120) + np.exp(-np.hypot(160, 10) / 120)
    assert told == pytest.approx(np.array([[30.0 * total / (total + neighbours.FEW), 0.0]]))


def test_neighbours_that_disagree_tell_nothing() -> None:
    places = PLACES[[0, 1, 0]] + [[0, 0, 0, 0], [0, 0, 0, 0], [80, 0, 0, 0]]
    moves = np.array([[30.0, 0.0], [99.0, 99.0], [-30.0, 0.0]])
    told = neighbours.shared(places, moves, PLACES[1:2], without=np.array([[False, True, False]]))
    assert told == pytest.approx(np.zeros((1, 2)))


def test_without_neighbours_nobody_moves() -> None:
    assert (
        neighbours.shared(np.zeros((0, 4)), np.zeros((0, 2)), PLACES).tolist() == [[0.0, 0.0]] * 3
    )


def test_after_a_hole_who_is_known_again_tells_where_the_others_went(rectangles: Make) -> None:
    # The camera turned by 18 pixels and the last of two alike is gone. The other now stands nearer
    # to where that one would be; those of another height tell them apart.
    alike = [(100.0, 100.0), (130.0, 100.0)]
    others = [(30.0, 100.0, 90.0), (190.0, 100.0, 90.0), (250.0, 100.0, 90.0)]
    seen, then = boxes(*alike), boxes((118.0, 100.0))
    for x, y, height in others:
        seen += boxes((x, y), height=height)
        then += boxes((x + 18, y), height=height)
    assert after(0.3, rectangles(seen), rectangles(then)) == [1, 3, 4, 5]
    assert after(0.3, rectangles(seen[:2]), rectangles(then[:1])) == [2]


def test_after_a_hole_half_sure_is_enough(rectangles: Make) -> None:
    seen, moved = rectangles(boxes((100, 100))), boxes((118, 100))
    assert after(0.3, seen, rectangles(moved, scores=0.4)) == [1]
    assert after(0.3, seen, rectangles(moved, scores=0.3)) == []
    assert after(0.1, seen, rectangles(moved, scores=0.4)) == []


def test_after_a_hole_nobody_becomes_another_class(rectangles: Make) -> None:
    seen = rectangles(boxes((100, 100)), classes=1)
    then = rectangles(boxes((105, 100)), classes=2, scores=0.7)
    assert after(0.3, seen, then) == []


def test_after_a_hole_a_newcomer_is_published_sooner(rectangles: Make) -> None:
    # Evidence 0.9 - 0.4, and 0.2 for every factor of e over 0.1 s; 0.66 is needed.
    seen, both = rectangles(boxes((50, 100))), rectangles(boxes((50, 100), (250, 60)))
    assert after(0.1 * np.exp(0.7), seen, both) == [1]
    assert after(0.1 * np.exp(0.9), seen, both) == [1, 2]


def test_one_that_was_missed_before_the_hole_stands_back(rectangles: Make) -> None:
    # Who was seen last has the place, though the other one would be nearer to it.
    tracker = make_tracker()
    for i in range(20):
        shown = boxes((100, 100), (130, 100)) if i < 5 else boxes((130, 100))
        tracker.update(rectangles(shown), pts_s=i / 30, image_size=SIZE)
    found = tracker.update(rectangles(boxes((113, 100))), pts_s=19 / 30 + 0.3, image_size=SIZE)
    assert ids_of(found) == [2]


def test_after_a_hole_longer_than_the_buffer_nobody_is_looked_for(rectangles: Make) -> None:
    seen = rectangles(boxes((100, 100)))
    assert after(1.5, seen, seen) == [1]
    assert after(1.6, seen, seen) == [2]
