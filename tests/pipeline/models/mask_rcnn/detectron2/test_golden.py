"""detectron2's files, stage by stage against what detectron2 itself computes with them.

The recorded weights are random but reproducible. Each rule that no file says is turned round here
once, and what it changes is seen: a wrong one would pass nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from pipeline.masks import Masks
from pipeline.models.mask_rcnn.detectron2.dialect import DETECTRON2
from pipeline.models.mask_rcnn.detectron2.roi_align import by_level, gathered
from pipeline.models.mask_rcnn.detectron2.weights import load_mask_rcnn
from pipeline.models.mask_rcnn.engine.box_head import BoxHead
from pipeline.models.mask_rcnn.engine.detections import BoxDetections, DetectionRules, detect
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.mask_head import MaskHead
from pipeline.models.shared.devices import place
from pipeline.models.shared.layers import conv_maker
from pipeline.models.shared.sigmoid import sigmoid
from tests.pipeline.models.golden import Golden, Pool, batch_of, folder_of, stored
from tests.pipeline.models.mistakes import CONTROL, OF_DETECTRON2, Made

CPU = torch.device("cpu")
CASE = "1"
"""The picture whose padded size is no multiple of 64, and whose results are asked for larger."""


@pytest.fixture(scope="module")
def made(golden: Golden, network: MaskRCNN) -> Made:
    return Made(golden, network, DETECTRON2)


@pytest.fixture(scope="module")
def scored(made: Made) -> tuple[Tensor, Tensor]:
    """Logits, background first, and deltas of the recorded proposals."""
    head = BoxHead(made.network, conv_maker(CPU, torch.float32), CPU, torch.float32)
    with torch.inference_mode():
        return head(made.regions(made.recorded.boxes[0]).pool(7))


def softmax(scored: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return scored[0].softmax(dim=1), scored[1]


@pytest.fixture(scope="module")
def detected(made: Made, network: MaskRCNN, scored: tuple[Tensor, Tensor]) -> BoxDetections:
    rules = DetectionRules.of(network, 0.05, CPU, DETECTRON2.smallest_detection)
    return detect(*softmax(scored), made.recorded, made.batch.sizes, rules)


# ------------------------------------------------------------------ each stage is right


@pytest.mark.parametrize("pool", [gathered, by_level], ids=["cpu", "gpu"])
def test_pooled_regions(golden: Golden, made: Made, pool: Pool) -> None:
    found = made.regions(made.recorded.boxes[0, :8], pool).pool(7).permute(0, 3, 1, 2)
    assert golden.error(CASE, "box_pooled", found[:, ::8]) <= 1


def test_box_head_and_detections(
    golden: Golden, scored: tuple[Tensor, Tensor], detected: BoxDetections
) -> None:
    logits, deltas = scored
    assert golden.error(CASE, "cls_logits", logits[:200].roll(-1, 1)) <= 1
    assert golden.error(CASE, "box_deltas", deltas[:25, 1:].flatten(1)) <= 1
    assert detections_found(golden, detected) == 100


def detections_found(golden: Golden, found: BoxDetections) -> int:
    count = int(found.count)
    near = (
        np.abs(found.boxes[0, :count].numpy()[:, None] - golden.array(CASE, "net_boxes")[None]).max(
            axis=2
        )
        < golden.tolerances["net_boxes"]
    )
    classes = found.classes[0, :count].numpy() - 1
    near &= classes[:, None] == golden.array(CASE, "net_classes")[None]
    return int(near.any(axis=0).sum())


@pytest.fixture(scope="module")
def mask_logits(golden: Golden, network: MaskRCNN, made: Made) -> Tensor:
    """Of the first ten recorded detections."""
    boxes = torch.from_numpy(golden.array(CASE, "net_boxes")[:10])
    classes = torch.from_numpy(golden.array(CASE, "net_classes")[:10]).long() + 1
    regions = made.regions(boxes).pool(14)
    assert golden.error(CASE, "mask_pooled", regions[:4].permute(0, 3, 1, 2)[:, ::16]) <= 1
    with torch.inference_mode():
        return MaskHead(network, conv_maker(CPU, torch.float32), CPU, torch.float32)(
            regions, classes
        )


def same_masks(golden: Golden, paste: Callable[..., Masks]) -> int:
    """How many of ten recorded masks come out of their recorded logits to the last pixel."""
    boxes, logits = golden.array(CASE, "boxes")[:10], golden.array(CASE, "mask_logits")
    ours = paste(sigmoid(logits), boxes, golden.output_size(CASE)).to_coco()
    theirs = golden.masks(CASE)[:10].to_coco()
    return sum(one == other for one, other in zip(ours, theirs, strict=True))


def test_mask_head(golden: Golden, mask_logits: Tensor) -> None:
    assert golden.error(CASE, "mask_logits", mask_logits) <= 1


def test_paste(golden: Golden) -> None:
    assert same_masks(golden, DETECTRON2.paste) == 10


def test_end_to_end(golden: Golden, network: MaskRCNN) -> None:
    engine = Engine(network, place("cpu", "fp32"), score_threshold=0.05, dialect=DETECTRON2)
    for case in ("0", "1"):
        results = engine.forward(batch_of(golden, case, network))
        boxes, scores = results.boxes.numpy(), results.scores.numpy()
        height, width = golden.output_size(case)
        cut = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
        again = golden.found_again(case, cut, scores, results.classes.numpy() - 1)
        masks = DETECTRON2.paste(sigmoid(results.logits.numpy()), boxes, (height, width))
        assert again.any(axis=0).sum() >= 98
        assert (again & golden.alike(case, masks)).any(axis=0).sum() >= 98


# ------------------------------------------------------------------ each mistake is seen


@pytest.mark.parametrize("change", OF_DETECTRON2)
def test_each_mistake_is_seen(made: Made, change: str) -> None:
    assert OF_DETECTRON2[change](made) is (change != CONTROL)


def test_anchors_by_the_strides_of_the_padded_size_are_seen(made: Made) -> None:
    assert made.anchors(strides=None) > 100


def test_the_background_in_another_place_is_seen(
    golden: Golden, made: Made, scored: tuple[Tensor, Tensor]
) -> None:
    logits, deltas = scored
    keeps = DetectionRules.of(made.network, 0.05, CPU, DETECTRON2.smallest_detection)
    as_in_the_file = logits.roll(-1, 1), deltas.roll(-1, 1)
    found = detect(*softmax(as_in_the_file), made.recorded, made.batch.sizes, keeps)
    assert detections_found(golden, found) < 50


def test_torchvisions_paste_is_seen(golden: Golden) -> None:
    assert same_masks(golden, Masks.paste) <= 3


# ------------------------------------------------------------------ other bodies


@pytest.mark.slow
@pytest.mark.parametrize("body", ["r101", "x101_32x8d"])
def test_deeper_and_wider_bodies(shared_data: Path, body: str) -> None:
    golden = folder_of(shared_data, f"d2_mask_rcnn_{body}_fpn")
    network = load_mask_rcnn("own", stored(golden.state()), "own")
    engine = Engine(network, place("cpu", "fp32"), score_threshold=0.05, dialect=DETECTRON2)
    batch = batch_of(golden, CASE, network)
    assert golden.error(CASE, "input", batch.pixels[0]) <= 1
    results = engine.forward(batch)
    again = golden.found_again(
        CASE, results.boxes.numpy(), results.scores.numpy(), results.classes.numpy() - 1
    )
    assert again.any(axis=0).sum() >= 98
