"""A file of detectron2 by its path alone: its model, names, results; and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import models
from pipeline.errors import ModelError
from pipeline.models import choose, load_segmenter, model_labels
from pipeline.models.mask_rcnn.segmenter import ids_of_rows
from pipeline.models.shared.files import WeightsFile, from_bytes, read_weights
from pipeline.models.shared.labels import COCO_LABELS
from tests.pipeline.models.golden import Golden

NAME = "maskrcnn_resnet50_fpn"


@pytest.fixture(scope="module")
def path(published: bytes, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("zoo") / "model_final_f10217.pkl"
    file.write_bytes(published)
    return str(file)


@pytest.fixture(scope="module")
def state(golden: Golden) -> dict[str, np.ndarray]:
    return golden.state()


def pickled(state: dict[str, np.ndarray]) -> WeightsFile:
    return from_bytes(pickle.dumps({"model": state}), "own.pkl")


@pytest.mark.slow
def test_the_path_alone_is_enough(golden: Golden, path: str) -> None:
    assert choose(None, path) == (NAME, path)
    assert model_labels(NAME, path) == COCO_LABELS
    segmenter = load_segmenter(
        NAME, weights=path, device="cpu", precision="fp32", score_threshold=0.05
    )
    assert segmenter.info.labels == COCO_LABELS
    (found,) = segmenter.segment([golden.picture("1")])
    assert found.masks.size == (150, 210)
    assert len(found) > 20
    assert set(found.class_ids.tolist()) <= set(COCO_LABELS)
    assert found.class_ids.max() > 80  # ids of the data set, not rows of the head


def test_rows_become_ids_in_the_order_of_the_names() -> None:
    ids = ids_of_rows(COCO_LABELS, 81)
    assert ids[[1, 12, 80]].tolist() == [1, 13, 90]
    assert ids_of_rows(COCO_LABELS, 91).tolist() == list(range(91))
    assert ids_of_rows({1: "car", 2: "bus"}, 3).tolist() == [0, 1, 2]


def test_a_fine_tune_of_other_classes(state: dict[str, np.ndarray], tmp_path: Path) -> None:
    """As its training saves it, with the optimiser's state; names beside it."""
    fewer = dict(state)
    for name, rows in (
        ("roi_heads.box_predictor.cls_score", [0, 1, 80]),
        ("roi_heads.box_predictor.bbox_pred", range(8)),
        ("roi_heads.mask_head.predictor", [0, 1]),
    ):
        for kind in ("weight", "bias"):
            fewer[f"{name}.{kind}"] = state[f"{name}.{kind}"][list(rows)]
    tensors = {name: torch.from_numpy(value) for name, value in fewer.items()}
    path = tmp_path / "model_0089999.pth"
    torch.save({"model": tensors, "iteration": 89_999, "optimizer": {"state": {}}}, path)
    assert model_labels(NAME, str(path)) == {1: "class_1", 2: "class_2"}
    (tmp_path / "model_0089999.pth.labels.json").write_text('["cup", "plate"]')
    file = read_weights(str(path))
    segmenter = load_segmenter(NAME, weights=file, device="cpu", precision="fp32")
    assert segmenter.info.labels == {1: "cup", 2: "plate"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param(
            lambda s: s.pop("roi_heads.box_head.fc2.bias"),
            "own.pkl do not fit maskrcnn_resnet50_fpn: of 306 tensors, 1 missing "
            "(roi_heads.box_head.fc2.bias)",
            id="missing",
        ),
        pytest.param(
            lambda s: s.update({"roi_heads.mask_head.mask_fcn5.weight": np.zeros(1, np.float32)}),
            "1 left over (roi_heads.mask_head.mask_fcn5.weight)",
            id="left-over",
        ),
        pytest.param(
            lambda s: s.update(
                {"roi_heads.mask_head.predictor.weight": np.zeros((79, 256, 1, 1), np.float32)}
            ),
            "roi_heads.mask_head.predictor.weight has the shape (79, 256, 1, 1), which is not that",
            id="another-number-of-classes",
        ),
        pytest.param(
            lambda s: s.update(
                {"roi_heads.box_predictor.cls_score.weight": np.zeros(5, np.float32)}
            ),
            "roi_heads.box_predictor.cls_score.weight must have a row a class, got (5,)",
            id="no-classes",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    state: dict[str, np.ndarray], change: Callable[[dict[str, Any]], object], text: str
) -> None:
    changed = dict(state)
    change(changed)
    with pytest.raises(ModelError) as caught:
        load_segmenter(NAME, weights=pickled(changed), device="cpu")
    assert text in str(caught.value)


def test_another_body_or_no_masks_are_refused_by_name(
    state: dict[str, np.ndarray], path: str
) -> None:
    with pytest.raises(ModelError, match="do not fit maskrcnn_resnet101_fpn: they are those of "):
        load_segmenter("maskrcnn_resnet101_fpn", weights=path, device="cpu")
    boxes_only = {name: v for name, v in state.items() if ".mask_head." not in name}
    with pytest.raises(ModelError, match="those of a detectron2 model that is not known here"):
        load_segmenter(NAME, weights=pickled(boxes_only), device="cpu")


def test_training_goes_on_from_torchvisions_layout_only(path: str) -> None:
    from pipeline.models.mask_rcnn.weights import load_network

    with pytest.raises(ModelError, match="in detectron2's layout: they can be run, but neither"):
        load_network(NAME, read_weights(path))


def test_a_file_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Leaves:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return open, (str(tmp_path / "executed"), "w")

    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"model": {"x": Leaves()}}))
    with pytest.raises(ModelError, match="refused, nothing in it was executed"):
        models.choose(None, str(tmp_path / "model.pkl"))
    assert not (tmp_path / "executed").exists()


def test_a_file_that_is_cut_off(path: str, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(Path(path).read_bytes()[:1_000_000])
    with pytest.raises(ModelError, match="the file is cut off or damaged; fetch it again"):
        models.choose(None, str(tmp_path / "model.pkl"))
