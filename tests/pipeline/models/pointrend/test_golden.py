"""PointRend, step by step against what detectron2 computes with the same weights."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.models import choose, load_segmenter, model_labels
from pipeline.models.mask_rcnn.detectron2.dialect import DETECTRON2
from pipeline.models.mask_rcnn.engine.dense import Dense
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.last_head import Regions
from pipeline.models.mask_rcnn.loading import Trained
from pipeline.models.pointrend.head import (
    DOUBLINGS,
    POINTS,
    START,
    PointRendHead,
    cells,
    doubled,
    uncertain,
)
from pipeline.models.pointrend.importer import load
from pipeline.models.pointrend.layout import older
from pipeline.models.pointrend.points import grid
from pipeline.models.shared.devices import place
from pipeline.models.shared.files import WeightsFile, from_bytes
from pipeline.models.shared.labels import COCO_LABELS
from pipeline.models.shared.layers import conv_maker
from tests.pipeline.models.golden import Golden, batch_of, folder_of, regions_of
from tests.pipeline.models.mistakes import CONTROL, OF_DETECTRON2, Made

NAME = "pointrend_resnet50_fpn"
CPU = torch.device("cpu")
MAKE = conv_maker(CPU, torch.float32)
CASE, PADDED = "1", (160, 224)


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> Golden:
    return folder_of(shared_data, "d2_pointrend_r50_fpn")


@pytest.fixture(scope="module")
def file(golden: Golden) -> WeightsFile:
    return from_bytes(pickle.dumps({"model": golden.state(extras=True)}), "own.pkl")


@pytest.fixture(scope="module")
def trained(file: WeightsFile) -> Trained:
    return load(NAME, file)


@pytest.fixture(scope="module")
def head(trained: Trained) -> PointRendHead:
    return PointRendHead(trained.network, MAKE, CPU, torch.float32)


@pytest.fixture(scope="module")
def made(golden: Golden, trained: Trained) -> Made:
    return Made(golden, trained.network, trained.dialect)


@pytest.fixture(scope="module")
def dense(made: Made) -> Dense:
    return made.dense


@pytest.mark.parametrize("change", OF_DETECTRON2)
def test_each_mistake_is_seen(made: Made, change: str) -> None:
    assert OF_DETECTRON2[change](made) is (change != CONTROL)


@pytest.fixture(scope="module")
def regions_for(golden: Golden, dense: Dense) -> Callable[[int], Regions]:
    """The first recorded detections."""

    def first(count: int) -> Regions:
        boxes = torch.from_numpy(golden.array(CASE, "net_boxes")[:count])
        return regions_of(dense, PADDED, boxes)

    return first


@pytest.fixture(scope="module")
def classes(golden: Golden) -> Tensor:
    """Rows of the class head, the background first."""
    return torch.from_numpy(golden.array(CASE, "net_classes")).long() + 1


def test_the_coarse_mask(
    golden: Golden,
    head: PointRendHead,
    regions_for: Callable[[int], Regions],
    classes: Tensor,
) -> None:
    with torch.inference_mode():
        pooled = head.fine(regions_for(4), grid(14, CPU)).view(4, 14, 14, -1)
        coarse = head.coarse(regions_for(40))
    assert golden.error(CASE, "coarse_pooled", pooled.permute(0, 3, 1, 2)[:, ::16]) <= 1
    own = coarse.gather(2, (classes[:40] - 1)[:, None, None].expand(-1, 49, 1)).view(40, 7, 7)
    assert golden.error(CASE, "coarse_logits", own) <= 1


def test_features_of_points(
    golden: Golden, head: PointRendHead, regions_for: Callable[[int], Regions]
) -> None:
    with torch.inference_mode():
        fine = head.fine(regions_for(4), grid(START, CPU))
    assert golden.error(CASE, "point_features", fine.transpose(1, 2)[:, ::16, ::8]) <= 1


def test_every_doubling_mends_the_same_points(
    golden: Golden,
    head: PointRendHead,
    regions_for: Callable[[int], Regions],
    classes: Tensor,
) -> None:
    regions, own = regions_for(8), classes[:8]
    with torch.inference_mode():
        coarse = head.coarse(regions)
        logits = head.at(regions, coarse, grid(START, CPU).expand(8, -1, -1), own)
        logits = logits.view(8, START, START)
        assert golden.error(CASE, "point_logits_28", logits) <= 1
        for _ in range(DOUBLINGS):
            logits = doubled(logits)
            index = uncertain(logits, POINTS)
            theirs = golden.array(CASE, f"point_index_{logits.shape[1]}")
            for mine, recorded in zip(index.numpy(), theirs, strict=True):
                assert len(set(mine.tolist()) & set(recorded.tolist())) >= 0.99 * POINTS
            mended = head.at(regions, coarse, cells(index, logits.shape[1]), own)
            logits = logits.flatten(1).scatter(1, index, mended).view_as(logits)
        assert torch.equal(logits, head.refined(regions, own))
    off = np.abs(logits[:, ::4, ::4].numpy() - golden.array(CASE, "mask_logits"))
    assert (off <= golden.tolerances["mask_logits"]).mean() > 0.999


def test_fewer_points_are_seen(
    golden: Golden,
    head: PointRendHead,
    regions_for: Callable[[int], Regions],
    classes: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.models.pointrend.head.POINTS", 196)
    with torch.inference_mode():
        logits = head.refined(regions_for(8), classes[:8])
    off = np.abs(logits[:, ::4, ::4].numpy() - golden.array(CASE, "mask_logits"))
    assert (off <= golden.tolerances["mask_logits"]).mean() < 0.99


def test_end_to_end(golden: Golden, trained: Trained) -> None:
    engine = Engine(
        trained.network, place("cpu", "fp32"), score_threshold=0.05,
        dialect=trained.dialect, last_head=trained.last_head,
    )  # fmt: skip
    results = engine.forward(batch_of(golden, CASE, trained.network))
    size = golden.output_size(CASE)
    found = PointRendHead.found(
        results.boxes.numpy(), results.scores.numpy(), results.classes.numpy(),
        [results.logits.numpy()], size, paste=DETECTRON2.paste,
    )  # fmt: skip
    masks = found.paste(found.probabilities, found.boxes, size)
    cut = np.clip(found.boxes, 0, [size[1], size[0]] * 2).astype(np.float32)
    again = golden.found_again(CASE, cut, found.scores, found.classes - 1)
    assert again.any(axis=0).sum() >= 98
    assert (again & golden.alike(CASE, masks)).any(axis=0).sum() >= 98


def test_files_with_the_names_of_before(golden: Golden, trained: Trained) -> None:
    state = {older(name): value for name, value in golden.state().items()}
    assert "roi_heads.mask_coarse_head.coarse_mask_fc1.weight" in state
    loaded = load(NAME, from_bytes(pickle.dumps({"model": state}), "own.pkl"))
    ours, theirs = (one.network.state_dict() for one in (loaded, trained))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_file_says_what_it_is(file: WeightsFile, tmp_path: Path) -> None:
    (tmp_path / "own.pkl").write_bytes(file.data)
    assert choose(None, str(tmp_path / "own.pkl"))[0] == NAME
    assert model_labels(NAME, file) == COCO_LABELS
    with pytest.raises(ModelError, match=f"are those of {NAME}; use --model {NAME}"):
        load_segmenter("maskrcnn_resnet50_fpn", weights=file, device="cpu")
