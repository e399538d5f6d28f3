"""Ids that stay with the same object, frame by frame."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.stages import SnapshotRefused
from pipeline.tracking import make_tracker

Make = Callable[..., Instances]
SIZE = (200, 300)
FPS = 30.0


def box(x: float, y: float = 50.0, w: float = 20.0, h: float = 40.0) -> tuple[float, ...]:
    return (x, y, x + w, y + h)


def ids_of(instances: Instances) -> list[int]:
    assert instances.track_ids is not None
    return list(instances.track_ids.tolist())


class Stream:
    """A tracker and its time."""

    def __init__(self, fps: float = FPS, **settings: object) -> None:
        self.tracker = make_tracker(**settings)  # type: ignore[arg-type]
        self.fps = fps
        self.frame = 0

    def see(self, instances: Instances | None, **more: object) -> Instances:
        pts_s = self.frame / self.fps
        self.frame += 1
        given = {"pts_s": pts_s, "image_size": SIZE, **more}
        return self.tracker.update(instances, **given)  # type: ignore[arg-type]

    def skip(self, frames: int) -> None:
        self.frame += frames


# ------------------------------------------------------------------------- what is published


def test_objects_of_the_first_frame_are_published_at_once(rectangles: Make) -> None:
    shown = Stream().see(rectangles([box(10), box(100), box(200)], scores=0.75))
    assert ids_of(shown) == [1, 2, 3]


def test_a_later_object_is_published_when_it_has_been_seen_twice(rectangles: Make) -> None:
    stream = Stream()
    stream.see(rectangles([box(10)]))
    assert ids_of(stream.see(rectangles([box(100), box(10)]))) == [1]
    assert ids_of(stream.see(rectangles([box(100), box(10)]))) == [2, 1]


def test_a_flicker_is_never_published(rectangles: Make) -> None:
    stream = Stream()
    for _ in range(20):
        stream.see(rectangles([box(10)]))
        assert ids_of(stream.see(rectangles([box(10), box(100)], scores=[0.9, 0.75]))) == [1]
        for _ in range(8):
            stream.see(rectangles([box(10)]))


def test_instances_keep_their_order_boxes_scores_and_masks(rectangles: Make) -> None:
    stream = Stream()
    stream.see(rectangles([box(10), box(100), box(200)]))
    given = rectangles([box(201), box(11), box(50), box(101)], scores=[0.7, 0.8, 0.05, 0.9])
    shown = stream.see(given)
    assert ids_of(shown) == [3, 1, 2]
    assert np.array_equal(shown.boxes, given.boxes[[0, 1, 3]])
    assert np.array_equal(shown.scores, given.scores[[0, 1, 3]])
    assert shown.masks.same_as(given.masks[[0, 1, 3]])


def test_points_stay_with_their_instance(rectangles: Make) -> None:
    stream = Stream()
    points = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3)
    first = stream.see(replace(rectangles([box(20), box(200)]), keypoints=points))
    turned = replace(rectangles([box(201), box(21)]), keypoints=points[::-1].copy())
    second = stream.see(turned)
    assert ids_of(second) == ids_of(first)[::-1]
    assert np.array_equal(first.keypoints, points)
    assert np.array_equal(second.keypoints, points[::-1])


def test_a_low_score_continues_a_track_and_starts_none(rectangles: Make) -> None:
    stream = Stream()
    for _ in range(3):
        stream.see(rectangles([box(10)]))
    low = stream.see(rectangles([box(10), box(100)], scores=[0.2, 0.5]))
    assert ids_of(low) == [1]
    assert low.scores.tolist() == pytest.approx([0.2])
    for _ in range(5):
        assert ids_of(stream.see(rectangles([box(100)], scores=0.5))) == []


def test_however_loose_the_setting_a_low_score_elsewhere_is_no_match(rectangles: Make) -> None:
    stream = Stream(low_match_thresh=1.0)
    for _ in range(3):
        stream.see(rectangles([box(10)]))
    assert ids_of(stream.see(rectangles([box(200)], scores=[0.5]))) == []


def test_min_score_asks_for_the_best_score_a_track_ever_had(rectangles: Make) -> None:
    stream = Stream(min_score=0.8)
    assert ids_of(stream.see(rectangles([box(10)], scores=0.75))) == []
    assert ids_of(stream.see(rectangles([box(10)], scores=0.85))) == [1]
    assert ids_of(stream.see(rectangles([box(10)], scores=0.75))) == [1]


# ------------------------------------------------------------------------- staying the same


def test_an_object_hidden_for_half_a_second_keeps_its_id(rectangles: Make) -> None:
    # It is published again when it has been seen twice.
    stream = Stream()
    for i in range(30):
        stream.see(rectangles([box(10 + 2 * i)]))
    for _ in range(15):
        stream.see(rectangles([]))
    stream.see(rectangles([box(10 + 2 * 45)]))
    assert ids_of(stream.see(rectangles([box(10 + 2 * 46)]))) == [1]


def test_an_object_that_walks_behind_a_wall_is_looked_for_as_a_whole(rectangles: Make) -> None:
    # It vanishes bit by bit from the right and comes out bit by bit on the other side. What is left
    # to see grows narrow and slow; the object does not.
    stream, wall_begins, wall_ends = Stream(), 130, 160
    shown: list[int] = []
    for x in range(10, 200, 4):
        parts = [(x, min(x + 24, wall_begins)), (max(x, wall_ends), x + 24)]
        seen = [box(left, w=right - left) for left, right in parts if right - left >= 3]
        shown += ids_of(stream.see(rectangles(seen)))
    assert shown[-1] == 1
    assert set(shown) == {1}


def test_who_comes_in_where_somebody_left_is_somebody_else(rectangles: Make) -> None:
    stream = Stream()
    for x in np.arange(30.0, -16.0, -0.5):
        stream.see(rectangles([box(max(x, 0), w=x + 20 - max(x, 0))]))
    for _ in range(12):
        stream.see(rectangles([]))
    for x in np.arange(-14.0, 20.0, 2.0):
        shown = stream.see(rectangles([box(max(x, 0), w=x + 20 - max(x, 0))]))
    assert ids_of(shown) == [2]


def test_after_a_hole_place_and_height_outweigh_a_chance_overlap(rectangles: Make) -> None:
    # Both stopped while nobody looked: the tall one now stands where the small one should be.
    stream = Stream()
    for i in range(30):
        stream.see(rectangles([box(10 + 3 * i), box(38 + 3 * i, h=60)]))
    stream.skip(12)
    shown = stream.see(rectangles([box(112), box(140, h=60)]))
    assert ids_of(shown) == [1, 2]


def test_a_box_without_a_mask_is_published_as_its_track_sees_it() -> None:
    stream = Stream()
    rng = np.random.default_rng(3)
    errors = []
    for i in range(100):
        truth = np.array(box(20 + 2 * i))
        found = truth + rng.normal(0, 2, 4)
        shown = stream.see(bare(found))
        errors.append([np.abs(found - truth).mean(), np.abs(shown.boxes[0] - truth).mean()])
    raw, published = np.mean(errors[20:], axis=0)
    assert published < 0.8 * raw


def bare(found: np.ndarray) -> Instances:
    """One instance without a mask."""
    runs = np.array([SIZE[0] * SIZE[1]], np.uint32)
    return Instances(
        found[None].astype(np.float32),
        np.array([0.9], np.float32),
        np.ones(1, np.int64),
        Masks(SIZE, runs, np.array([0, 1])),
    )


def test_an_object_gone_for_longer_than_the_buffer_is_forgotten(rectangles: Make) -> None:
    stream = Stream(track_buffer=1.0)
    stream.see(rectangles([box(10)]))
    for _ in range(31):
        stream.see(rectangles([]))
    for _ in range(2):
        shown = stream.see(rectangles([box(10)]))
    assert ids_of(shown) == [2]


@pytest.mark.parametrize("fps", [30.0, 7.3, 5000.0], ids="{} frames a second".format)
def test_a_tracker_without_tracks_goes_through_a_gap_at_once_as_frame_by_frame(
    rectangles: Make, fps: float
) -> None:
    one_by_one, at_once = Stream(fps), Stream(fps)
    for stream in (one_by_one, at_once):
        for _ in range(3):
            stream.see(rectangles([box(10)]))
        while not stream.tracker.idle:
            stream.see(Instances.empty(SIZE))
    gap = np.arange(at_once.frame, at_once.frame + 2000)
    at_once.tracker.idle_through(gap / fps)
    at_once.skip(2000)
    for _ in range(2000):
        one_by_one.see(Instances.empty(SIZE))
    assert at_once.tracker.snapshot() == one_by_one.tracker.snapshot()
    assert ids_of(at_once.see(rectangles([box(50)]))) == ids_of(
        one_by_one.see(rectangles([box(50)]))
    )
    assert at_once.tracker.snapshot() == one_by_one.tracker.snapshot()


@pytest.mark.parametrize("lost", [1, 3, 12])
def test_lost_frames_are_a_matter_of_time_stamps(rectangles: Make, lost: int) -> None:
    stream = Stream()
    for i in range(20):
        stream.see(rectangles([box(10 + 3 * i)]))
    stream.skip(lost)
    assert ids_of(stream.see(rectangles([box(10 + 3 * (20 + lost))]))) == [1]


def test_two_who_walk_through_each_other_keep_their_ids(rectangles: Make) -> None:
    stream = Stream()
    for i in range(60):
        left, right = box(20 + 3 * i, h=40), box(200 - 3 * i, y=52, h=44)
        shown = stream.see(rectangles([left, right] if i % 2 else [right, left]))
        ids = dict(zip(ids_of(shown), shown.boxes[:, 0].tolist(), strict=True))
        assert (ids[1], ids[2]) == pytest.approx((200 - 3 * i, 20 + 3 * i)), (
            f"exchanged at frame {i}"
        )


def test_masks_tell_apart_what_boxes_cannot(rectangles: Make) -> None:
    # Two L-shaped objects share one box; only their masks differ.
    upper = np.zeros((40, 40), bool)
    upper[:10] = upper[:, :10] = True
    lower = upper[::-1, ::-1] & ~upper

    def found(order: list[np.ndarray]) -> Instances:
        both = rectangles([box(50, w=40), box(50, w=40)])
        masks = Masks.from_crops(SIZE, [(50, 50, mask) for mask in order])
        return Instances(both.boxes, both.scores, both.class_ids, masks)

    stream = Stream()
    assert ids_of(stream.see(found([upper, lower]))) == [1, 2]
    assert ids_of(stream.see(found([lower, upper]))) == [2, 1]
    boxes_only = Stream(mask_weight=0.0)
    boxes_only.see(found([upper, lower]))
    assert ids_of(boxes_only.see(found([lower, upper]))) == [1, 2]


def test_a_moving_camera_moves_the_tracks(rectangles: Make) -> None:
    stream = Stream()
    stream.see(rectangles([box(10), box(60)]))
    jump = np.array([[1.0, 0.0, 120.0], [0.0, 1.0, 30.0]])
    shown = stream.see(rectangles([box(180, 80), box(130, 80)]), motion=jump)
    assert ids_of(shown) == [2, 1]


def test_new_objects_are_expected_to_move_like_their_neighbours(rectangles: Make) -> None:
    stream = Stream(fps=10.0)
    for i in range(6):
        stream.see(rectangles([box(20 + 15 * i, y) for y in (10.0, 60.0, 110.0)]))
    place = 20 + 15 * 6
    rows = [box(place, y) for y in (10.0, 60.0, 110.0)]
    stream.see(rectangles([*rows, box(place, 155)]))
    rows = [box(place + 15, y) for y in (10.0, 60.0, 110.0)]
    shown = stream.see(rectangles([*rows, box(place + 15, 155)]))
    assert ids_of(shown) == [1, 2, 3, 4]


def test_a_scene_cut_ends_all_tracks(rectangles: Make) -> None:
    stream = Stream()
    stream.see(rectangles([box(10)]))
    stream.see(rectangles([box(10)]), motion=np.full((2, 3), np.nan))
    assert ids_of(stream.see(rectangles([box(10)]))) == [2]


def test_appearance_brings_a_track_back_from_far_away(rectangles: Make) -> None:
    look = np.eye(4, dtype=np.float16)
    known, other = look[:1], look[1:2]
    for with_reid, embedding, expected in ((True, known, 1), (True, other, 2), (False, known, 2)):
        stream = Stream(with_reid=with_reid)
        for _ in range(3):
            stream.see(rectangles([box(10)], embeddings=known))
        stream.skip(12)
        for _ in range(2):
            shown = stream.see(rectangles([box(110, 60)], embeddings=embedding))
        assert ids_of(shown) == [expected]


# ------------------------------------------------------------------------- births and deaths


def test_a_part_of_a_mask_that_is_followed_starts_no_track(rectangles: Make) -> None:
    stream = Stream()
    stream.see(rectangles([box(50, w=60, h=100)]))
    for _ in range(5):
        parts = [box(50, w=60, h=100), box(60, 60, w=20, h=30)]
        assert ids_of(stream.see(rectangles(parts))) == [1]


def test_ids_are_never_used_again(rectangles: Make) -> None:
    stream = Stream(track_buffer=0.1)
    seen: set[int] = set()
    for _ in range(20):
        for _ in range(2):
            shown = stream.see(rectangles([box(10)]))
        assert seen.isdisjoint(ids_of(shown))
        seen |= set(ids_of(shown))
        stream.tracker.reset()
    assert seen == set(range(1, 21))


def test_two_streams_share_nothing(rectangles: Make) -> None:
    one, two = Stream(), Stream()
    one.see(rectangles([box(10), box(100)]))
    assert ids_of(two.see(rectangles([box(10)]))) == [1]
    two.tracker.reset()
    assert ids_of(one.see(rectangles([box(10), box(100)]))) == [1, 2]


# ------------------------------------------------------------------------- classes


def test_a_track_is_called_what_most_detections_called_it(rectangles: Make) -> None:
    stream = Stream(class_names={1: "car", 2: "truck", 3: "person"})
    names = [
        stream.see(rectangles([box(10)], classes=c)).class_ids.tolist() for c in (1, 1, 2, 1, 2)
    ]
    assert names == [[1]] * 5


def test_a_person_never_becomes_a_car(rectangles: Make) -> None:
    stream = Stream(class_names={1: "car", 3: "person"})
    stream.see(rectangles([box(10)], classes=1))
    for _ in range(3):
        shown = stream.see(rectangles([box(10)], classes=3))
    assert ids_of(shown) == [2]
    assert shown.class_ids.tolist() == [3]


def test_classes_without_a_name_are_kept_apart(rectangles: Make) -> None:
    stream = Stream()
    stream.see(rectangles([box(10)], classes=7))
    for _ in range(3):
        shown = stream.see(rectangles([box(10)], classes=8))
    assert ids_of(shown) == [2]


# ------------------------------------------------------------------------- unsegmented frames


def test_tracks_are_carried_into_frames_that_were_not_segmented(rectangles: Make) -> None:
    stream = Stream()
    for i in range(30):
        stream.see(rectangles([box(10 + 2 * i)]))
    carried = stream.see(None)
    assert ids_of(carried) == [1]
    assert carried.predicted is not None
    assert carried.predicted.tolist() == [True]
    assert carried.boxes[0].tolist() == pytest.approx([70, 50, 90, 90], abs=1.5)
    assert carried.masks.areas().tolist() == [20 * 40]
    assert carried.masks.boxes()[0].tolist() == pytest.approx([70, 50, 90, 90], abs=1.5)
    assert ids_of(stream.see(rectangles([box(10 + 2 * 31)]))) == [1]


def test_carrying_ends(rectangles: Make) -> None:
    stream = Stream(predict_for=0.2)
    stream.see(rectangles([box(10)]))
    carried = [len(stream.see(None)) for _ in range(10)]
    assert carried == [1] * 6 + [0] * 4


def test_nothing_is_carried_before_the_first_segmented_frame() -> None:
    shown = Stream().see(None)
    assert len(shown) == 0
    assert ids_of(shown) == []


# ------------------------------------------------------------------------- state


def wandering(rectangles: Make, frame: int) -> Instances:
    """Six objects on bent paths, some unseen, some unsure, in changing order."""
    rng = np.random.default_rng(frame)
    t = frame / 10
    boxes = [
        box(120 + 100 * np.sin(t * (0.5 + i / 9) + i), 70 + 50 * np.cos(t / 2 + i), 14 + i)
        for i in range(6)
    ]
    order = rng.permutation(6)[: rng.integers(3, 7)]
    looks = np.eye(6, 8, dtype=np.float16)[order]
    scores = rng.uniform(0.3, 1.0, len(order))
    return rectangles([boxes[i] for i in order], scores=scores, classes=order % 2, embeddings=looks)


@pytest.mark.parametrize("with_reid", [False, True], ids=["plain", "reid"])
def test_a_restored_tracker_goes_on_with_the_same_ids(rectangles: Make, with_reid: bool) -> None:
    turn = np.array([[0.999, -0.01, 1.0], [0.01, 0.999, 0.5]])
    stream = Stream(with_reid=with_reid)
    results, snapshots = [], []
    for frame in range(60):
        snapshots.append(json.dumps(stream.tracker.snapshot(), allow_nan=False))
        seen = None if frame % 7 == 3 else wandering(rectangles, frame)
        results.append(stream.see(seen, motion=turn))
    for start in range(0, 60, 4):
        other = Stream(with_reid=with_reid)
        other.tracker.restore(json.loads(snapshots[start]))
        assert json.dumps(other.tracker.snapshot()) == snapshots[start]
        other.frame = start
        for frame in range(start, min(start + 15, 60)):
            seen = None if frame % 7 == 3 else wandering(rectangles, frame)
            shown = other.see(seen, motion=turn)
            assert ids_of(shown) == ids_of(results[frame])
            assert np.array_equal(shown.boxes, results[frame].boxes)
            assert shown.masks.same_as(results[frame].masks)


def test_a_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(SnapshotRefused, match=r"tracker snapshot version 0, expected \d"):
        Stream().tracker.restore({"version": 0})
