"""What is drawn in the street, and that the truth about it is exact."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.sources.street.scene import StreetScene
from pipeline.sources.street.truth import crop_runs, visible_instances

SEEDS = (21, 22, 23)


@pytest.fixture(scope="module")
def looks() -> list[tuple[NDArray[np.uint8], Instances]]:
    """Frames of three streets at the default size, four seconds apart."""
    return [scene.frame(i * 100) for scene in map(StreetScene, SEEDS) for i in range(4)]


def test_boxes_are_the_tight_boxes_of_the_masks(
    looks: list[tuple[NDArray[np.uint8], Instances]],
) -> None:
    for _, truth in looks:
        for box, mask in zip(truth.boxes, truth.masks.dense(), strict=True):
            rows, columns = np.nonzero(mask)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == tight


def test_no_pixel_belongs_to_two_objects(
    looks: list[tuple[NDArray[np.uint8], Instances]],
) -> None:
    for _, truth in looks:
        assert truth.masks.dense().sum(0).max() <= 1


def test_about_six_to_twelve_objects_are_there_and_a_quarter_is_small(
    looks: list[tuple[NDArray[np.uint8], Instances]],
) -> None:
    counts = [len(truth) for _, truth in looks]
    heights = np.concatenate([t.boxes[:, 3] - t.boxes[:, 1] for _, t in looks])
    assert 6 <= np.mean(counts) <= 12
    assert min(counts) >= 4
    assert 0.15 <= np.mean(heights < 48) <= 0.4
    assert np.mean(heights < 22) < 0.05


def test_all_six_classes_are_met(looks: list[tuple[NDArray[np.uint8], Instances]]) -> None:
    seen = Counter(int(c) for _, truth in looks for c in truth.class_ids)
    assert set(seen) == set(StreetScene.labels)


def test_a_track_keeps_its_class_and_moves_little_from_frame_to_frame() -> None:
    scene = StreetScene(25, (192, 320), fps=25)
    classes: dict[int, int] = {}
    before: dict[int, tuple[float, float]] = {}
    for index in range(25):
        truth = scene.truth(index)
        assert truth.track_ids is not None
        ids = truth.track_ids.tolist()
        assert len(set(ids)) == len(ids)
        here = {}
        for track_id, class_id, box in zip(ids, truth.class_ids.tolist(), truth.boxes, strict=True):
            assert classes.setdefault(track_id, class_id) == class_id
            here[track_id] = (float(box[1]), float(box[3]))
            if track_id in before:  # its head may hide, its feet do not jump
                assert abs(before[track_id][1] - here[track_id][1]) <= 40
        before = here


def test_objects_come_and_go() -> None:
    scene = StreetScene(25, (192, 320), fps=25)
    early, late = scene.truth(0).track_ids, scene.truth(500).track_ids
    assert early is not None
    assert late is not None
    assert set(late.tolist()) - set(early.tolist())
    assert set(early.tolist()) - set(late.tolist())


def test_a_frame_does_not_depend_on_the_frames_drawn_before_it() -> None:
    walked, jumped = StreetScene(26, (192, 320)), StreetScene(26, (192, 320))
    for index in range(3):
        walked.frame(index)
    (image, truth), (other, same) = walked.frame(3), jumped.frame(3)
    assert np.array_equal(image, other)
    assert np.array_equal(truth.masks.counts, same.masks.counts)


def test_picture_and_truth_are_the_same_alone_and_together() -> None:
    scene = StreetScene(26, (192, 320))
    image, truth = scene.frame(7)
    assert np.array_equal(scene.image(7), image)
    alone = scene.truth(7)
    assert np.array_equal(alone.masks.counts, truth.masks.counts)
    assert np.array_equal(alone.boxes, truth.boxes)


@pytest.mark.parametrize("size", [(97, 1200), (400, 96), (384, 683)], ids=str)
def test_any_shape_of_picture_is_filled(size: tuple[int, int]) -> None:
    image, truth = StreetScene(28, size).frame(30)
    assert image.shape == (*size, 3)
    assert truth.masks.size == size
    assert len(truth) >= 1


def test_half_the_frame_rate_shows_every_other_frame() -> None:
    fast, slow = StreetScene(27, (192, 320), fps=20), StreetScene(27, (192, 320), fps=10)
    assert np.array_equal(fast.truth(8).masks.counts, slow.truth(4).masks.counts)


def test_what_is_hidden_too_much_is_not_in_the_truth() -> None:
    owner = np.zeros((40, 60), np.uint16)
    owner[5:15, 10:30] = 1  # 200 pixels of 800: shows a quarter
    owner[20:30, 40:60] = 2  # 200 pixels of 801: a little less
    claims = [(1, 3, 11, 800.0, (8, 0, 40, 40)), (2, 3, 12, 801.0, (35, 15, 60, 40))]
    truth = visible_instances(owner, claims, scale=1.0)
    assert truth.track_ids is not None
    assert truth.track_ids.tolist() == [11]
    assert truth.boxes.tolist() == [[10, 5, 30, 15]]
    assert truth.masks.areas().tolist() == [200]


@given(
    mask=arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 6))),
    left=st.integers(0, 3),
    top=st.integers(0, 3),
    right=st.integers(0, 3),
    bottom=st.integers(0, 3),
)
@settings(max_examples=100, deadline=None)
def test_runs_of_a_crop_are_those_of_the_whole_picture(
    mask: NDArray[np.bool_], left: int, top: int, right: int, bottom: int
) -> None:
    whole = np.pad(mask, ((top, bottom), (left, right)))
    runs = crop_runs(mask, (left, top), whole.shape)
    assert runs.tolist() == Masks.from_dense(whole[None]).runs(0).tolist()
