"""`Instances`: rows that stay together, and the way to supervision."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from pipeline.instances import Instances
from pipeline.masks import Masks


@pytest.fixture
def instances() -> Instances:
    dense = np.zeros((3, 6, 8), bool)
    dense[0, 1:3, 1:4] = dense[1, 0:6, 5:6] = dense[2, 4:6, 0:8] = True
    masks = Masks.from_dense(dense)
    return Instances(
        boxes=masks.boxes().astype(np.float32),
        scores=np.array([0.9, 0.5, 0.25], np.float32),
        class_ids=np.array([1, 3, 1]),
        masks=masks,
        track_ids=np.array([7, 9, 8]),
        predicted=np.array([False, True, False]),
        embeddings=np.eye(3, 4, dtype=np.float16),
        keypoints=np.arange(3 * 2 * 3, dtype=np.float32).reshape(3, 2, 3),
    )


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(np.array([True, False, True]), id="flags"),
        pytest.param([2, 0], id="indices"),
        pytest.param(slice(1, None), id="slice"),
        pytest.param([], id="none"),
        pytest.param(np.zeros(3, bool), id="no flags"),
    ],
)
def test_choosing_rows_keeps_every_field_together(instances: Instances, rows: object) -> None:
    index = np.arange(3)[rows if len(np.atleast_1d(rows)) or isinstance(rows, slice) else slice(0)]
    chosen = instances[rows]  # type: ignore[index]
    assert len(chosen) == len(index)
    for name in (
        "boxes",
        "scores",
        "class_ids",
        "track_ids",
        "predicted",
        "embeddings",
        "keypoints",
    ):
        assert np.array_equal(getattr(chosen, name), getattr(instances, name)[index]), name
    assert np.array_equal(chosen.masks.dense(), instances.masks.dense()[index])


def test_fields_that_are_not_known_stay_unknown(instances: Instances) -> None:
    bare = Instances(instances.boxes, instances.scores, instances.class_ids, instances.masks)[[1]]
    assert bare.track_ids is bare.predicted is bare.embeddings is bare.keypoints is None


@pytest.mark.parametrize("name", ["scores", "class_ids", "track_ids", "predicted", "keypoints"])
def test_a_field_with_another_number_of_rows_is_refused(instances: Instances, name: str) -> None:
    with pytest.raises(ValueError, match=f"Instances.{name} must have 3 rows like masks, got 2"):
        replace(instances, **{name: getattr(instances, name)[:2]})


def test_boxes_of_another_shape_are_refused(instances: Instances) -> None:
    with pytest.raises(ValueError, match=r"boxes must be \(3, 4\) like masks, got \(3, 2\)"):
        replace(instances, boxes=instances.boxes[:, :2])


def test_nothing_found_is_an_empty_struct() -> None:
    empty = Instances.empty((6, 8))
    assert len(empty) == 0
    assert empty.masks.size == (6, 8)
    assert len(empty[np.zeros(0, bool)]) == 0


def test_tracks_are_put_on_without_touching_the_rest(instances: Instances) -> None:
    tracked = instances.with_tracks(np.array([1, 2, 3]))
    assert tracked.track_ids is not None
    assert tracked.track_ids.tolist() == [1, 2, 3]
    assert tracked.masks is instances.masks
    assert instances.track_ids is not None
    assert instances.track_ids.tolist() == [7, 9, 8]


def test_supervision_gets_dense_masks_ids_scores_and_names(instances: Instances) -> None:
    detections = instances.to_supervision({1: "person"})
    assert detections.mask.shape == (3, 6, 8)
    assert detections.mask.dtype == bool
    assert np.array_equal(detections.mask, instances.masks.dense())
    assert np.array_equal(detections.xyxy, instances.boxes)
    assert detections.confidence.tolist() == [np.float32(0.9), 0.5, 0.25]
    assert detections.class_id.tolist() == [1, 3, 1]
    assert detections.tracker_id.tolist() == [7, 9, 8]
    assert detections.data["class_name"].tolist() == ["person", "3", "person"]
    assert detections.area.tolist() == [6, 6, 16]
    assert np.array_equal(detections.data["keypoints"], instances.keypoints)
    assert len(detections[detections.class_id == 1]) == 2


def test_supervision_gets_an_empty_picture_too() -> None:
    detections = Instances.empty((6, 8)).to_supervision()
    assert len(detections) == 0
    assert detections.mask.shape == (0, 6, 8)
    assert detections.tracker_id is None


def test_a_missing_supervision_names_the_extra(
    instances: Instances, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match=r"pip install 'maskstream\[supervision\]'"):
        instances.to_supervision()
