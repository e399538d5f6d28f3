"""Cascade Mask R-CNN, stage by stage against what detectron2 computes with the same weights."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.models import choose, load_segmenter, model_labels
from pipeline.models.cascade_mask_rcnn.importer import load
from pipeline.models.cascade_mask_rcnn.network import STAGE_WEIGHTS
from pipeline.models.mask_rcnn.detectron2.dialect import DETECTRON2
from pipeline.models.mask_rcnn.engine.box_head import BoxHead
from pipeline.models.mask_rcnn.engine.boxes import clip, decode
from pipeline.models.mask_rcnn.engine.dense import Dense
from pipeline.models.mask_rcnn.engine.detections import DetectionRules, detect
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.proposals import Proposals
from pipeline.models.mask_rcnn.loading import Trained
from pipeline.models.shared.devices import place
from pipeline.models.shared.files import WeightsFile, from_bytes
from pipeline.models.shared.labels import COCO_LABELS
from pipeline.models.shared.layers import conv_maker
from pipeline.models.shared.sigmoid import sigmoid
from tests.pipeline.models.golden import Golden, batch_of, folder_of, regions_of
from tests.pipeline.models.mistakes import CONTROL, OF_DETECTRON2, Made

NAME = "cascade_mask_rcnn_resnet50_fpn"
CPU = torch.device("cpu")
CASE, PADDED = "1", (160, 224)
SIZES = torch.tensor([[150.0, 210.0]])
MAKE = conv_maker(CPU, torch.float32)


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> Golden:
    return folder_of(shared_data, "d2_cascade_mask_rcnn_r50_fpn")


@pytest.fixture(scope="module")
def file(golden: Golden) -> WeightsFile:
    return from_bytes(pickle.dumps({"model": golden.state(extras=True)}), "own.pkl")


@pytest.fixture(scope="module")
def loaded(file: WeightsFile) -> Trained:
    return load(NAME, file)


@pytest.fixture(scope="module")
def made(golden: Golden, loaded: Trained) -> Made:
    return Made(golden, loaded.network, loaded.dialect)


@pytest.fixture(scope="module")
def dense(made: Made) -> Dense:
    return made.dense


@pytest.mark.parametrize("change", OF_DETECTRON2)
def test_each_mistake_is_seen(made: Made, change: str) -> None:
    assert OF_DETECTRON2[change](made) is (change != CONTROL)


Stage = tuple[Proposals, Tensor, Tensor]
"""Where a stage looks, its logits and its deltas."""


def staged(golden: Golden, dense: Dense, heads: Iterable[BoxHead]) -> list[Stage]:
    """From the recorded proposals on."""
    boxes = torch.from_numpy(golden.array(CASE, "proposal_boxes"))[None]
    proposals = Proposals(boxes, torch.ones(1, len(boxes[0]), dtype=torch.bool))
    found = []
    for head in heads:
        with torch.inference_mode():
            logits, deltas = head(regions_of(dense, PADDED, proposals.boxes[0]).pool(7))
        found.append((proposals, logits, deltas))
        proposals = head.refined(proposals, deltas, SIZES)
    return found


@pytest.fixture(scope="module")
def stages(golden: Golden, loaded: Trained, dense: Dense) -> list[Stage]:
    heads = BoxHead.stages(loaded.network, MAKE, CPU, torch.float32)
    return staged(golden, dense, heads)


def test_each_stage_begins_where_the_one_before_has_ended(
    golden: Golden, stages: list[Stage]
) -> None:
    assert len(stages) == 3
    for number, (proposals, logits, deltas) in enumerate(stages):
        assert golden.error(CASE, f"stage{number}_cls_logits", logits[:100].roll(-1, 1)) <= 1
        assert golden.error(CASE, f"stage{number}_box_deltas", deltas[:200, 0]) <= 1
        if number:
            theirs = golden.array(CASE, f"stage{number}_boxes")
            assert np.abs(proposals.boxes[0, :200].numpy() - theirs).max() < 1e-3


def found_again(golden: Golden, loaded: Trained, scores: Tensor, last: Stage) -> int:
    rules = DetectionRules.of(loaded.network, 0.05, CPU, DETECTRON2.smallest_detection)
    found = detect(scores, last[2], last[0], SIZES, rules)
    boxes, classes = found.boxes[0].numpy(), found.classes[0].numpy() - 1
    near = np.abs(boxes[:, None] - golden.array(CASE, "net_boxes")[None]).max(axis=2) < 0.01
    near &= classes[:, None] == golden.array(CASE, "net_classes")[None]
    near &= np.abs(found.scores[0].numpy()[:, None] - golden.array(CASE, "net_scores")) < 1e-3
    return int(near.any(axis=0).sum())


def test_scores_are_the_mean_of_all_stages(
    golden: Golden, loaded: Trained, stages: list[Stage]
) -> None:
    scores = [logits.softmax(dim=1) for _, logits, _ in stages]
    assert found_again(golden, loaded, sum(scores) / 3, stages[-1]) == 100
    for one in scores:
        assert found_again(golden, loaded, one, stages[-1]) < 50


def test_boxes_are_those_of_the_last_stage(
    golden: Golden, loaded: Trained, stages: list[Stage]
) -> None:
    mean = sum(logits.softmax(dim=1) for _, logits, _ in stages) / 3
    assert found_again(golden, loaded, mean, stages[1]) < 50


def test_another_box_coder_is_seen(golden: Golden, stages: list[Stage]) -> None:
    second, _, deltas = stages[1]
    for weights, right in ((STAGE_WEIGHTS[1], True), (STAGE_WEIGHTS[0], False)):
        moved = clip(decode(deltas[:, 0], second.boxes[0], torch.tensor(weights))[None], SIZES)
        off = np.abs(moved[0, :200].numpy() - golden.array(CASE, "stage2_boxes")).max()
        assert bool(off < 1e-3) is right


def test_end_to_end(golden: Golden, loaded: Trained) -> None:
    engine = Engine(
        loaded.network, place("cpu", "fp32"), score_threshold=0.05, dialect=loaded.dialect
    )
    results = engine.forward(batch_of(golden, CASE, loaded.network))
    height, width = golden.output_size(CASE)
    boxes = results.boxes.numpy()
    cut = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    again = golden.found_again(CASE, cut, results.scores.numpy(), results.classes.numpy() - 1)
    masks = DETECTRON2.paste(sigmoid(results.logits.numpy()), boxes, (height, width))
    assert again.any(axis=0).sum() >= 98
    assert (again & golden.alike(CASE, masks)).any(axis=0).sum() >= 98


def test_the_file_says_what_it_is(golden: Golden, file: WeightsFile, tmp_path: Path) -> None:
    (tmp_path / "own.pkl").write_bytes(file.data)
    assert choose(None, str(tmp_path / "own.pkl"))[0] == NAME
    assert model_labels(NAME, file) == COCO_LABELS
    with pytest.raises(ModelError, match=f"not of maskrcnn_resnet50_fpn: .* those of {NAME}"):
        load_segmenter("maskrcnn_resnet50_fpn", weights=file, device="cpu")


def test_a_missing_tensor_is_named(golden: Golden) -> None:
    state = golden.state()
    del state["roi_heads.box_head.1.fc2.bias"]
    file = from_bytes(pickle.dumps({"model": state}), "own.pkl")
    with pytest.raises(ModelError, match=r"1 missing \(roi_heads\.box_head\.1\.fc2\.bias\)"):
        load(NAME, file)


@pytest.mark.slow
def test_it_segments(golden: Golden, file: WeightsFile) -> None:
    segmenter = load_segmenter(
        NAME, weights=file, device="cpu", precision="fp32", score_threshold=0.05
    )
    assert segmenter.info.name == NAME
    (found,) = segmenter.segment([golden.picture(CASE)[:64, :80]])
    assert set(found.class_ids.tolist()) <= set(COCO_LABELS)
