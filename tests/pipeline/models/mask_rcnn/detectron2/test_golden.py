"""detectron2's files, stage by stage against what detectron2 itself computes with them.

The recorded weights are random but reproducible. Each rule that no file says is turned round here
once, and what it changes is seen: a wrong one would pass nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.masks import Masks
from pipeline.models.mask_rcnn.detectron2.dialect import DETECTRON2
from pipeline.models.mask_rcnn.detectron2.roi_align import LEAST_AREAS, by_level, gathered
from pipeline.models.mask_rcnn.detectron2.weights import load_mask_rcnn
from pipeline.models.mask_rcnn.engine.anchors import level_shapes, make_grid
from pipeline.models.mask_rcnn.engine.box_head import BoxHead
from pipeline.models.mask_rcnn.engine.dense import Dense, DensePart
from pipeline.models.mask_rcnn.engine.detections import BoxDetections, DetectionRules, detect
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.mask_head import MaskHead
from pipeline.models.mask_rcnn.engine.operators.preprocess import Batch
from pipeline.models.mask_rcnn.engine.operators.roi_align import make_layout
from pipeline.models.mask_rcnn.engine.proposals import ProposalRules, Proposals, propose
from pipeline.models.shared.devices import place
from pipeline.models.shared.layers import conv_maker
from pipeline.models.shared.resnet import put_strides_first
from pipeline.models.shared.sigmoid import sigmoid
from tests.pipeline.models.golden import Golden, Pool, batch_of, folder_of, regions_of, stored

CPU = torch.device("cpu")
CASE = "1"
"""The picture whose padded size is no multiple of 64, and whose results are asked for larger."""
PADDED = (160, 224)


@pytest.fixture(scope="module")
def batch(golden: Golden, network: MaskRCNN) -> Batch:
    return batch_of(golden, CASE, network)


@pytest.fixture(scope="module")
def dense(network: MaskRCNN, batch: Batch) -> Dense:
    with torch.inference_mode():
        return DensePart(network, conv_maker(CPU, torch.float32))(batch.pixels)


@pytest.fixture(scope="module")
def recorded_proposals(golden: Golden) -> Proposals:
    boxes = torch.from_numpy(golden.array(CASE, "proposal_boxes"))[None]
    return Proposals(boxes, torch.ones(1, len(boxes[0]), dtype=torch.bool))


def pooled(dense: Dense, boxes: Tensor, size: int, pool: Pool = gathered) -> Tensor:
    return regions_of(dense, PADDED, boxes, pool).pool(size)


def rows(levels: list[Tensor], first: int, last: int, width: int) -> np.ndarray:
    """Columns of the proposal head, all levels one after another."""
    return torch.cat([level[0, :, first:last].reshape(-1, width) for level in levels]).numpy()


@pytest.fixture(scope="module")
def scored(network: MaskRCNN, dense: Dense, recorded_proposals: Proposals) -> tuple[Tensor, Tensor]:
    """Logits, background first, and deltas of the recorded proposals."""
    head = BoxHead(network, conv_maker(CPU, torch.float32), CPU, torch.float32)
    with torch.inference_mode():
        return head(pooled(dense, recorded_proposals.boxes[0], 7))


def softmax(scored: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return scored[0].softmax(dim=1), scored[1]


@pytest.fixture(scope="module")
def detected(
    network: MaskRCNN, batch: Batch, scored: tuple[Tensor, Tensor], recorded_proposals: Proposals
) -> BoxDetections:
    rules = DetectionRules.of(network, 0.05, CPU, DETECTRON2.smallest_detection)
    return detect(*softmax(scored), recorded_proposals, batch.sizes, rules)


def body_errors(golden: Golden, network: MaskRCNN, pixels: Tensor, stages: int) -> dict[str, float]:
    """Of the stem and the first stages, in tolerances."""
    body = network.backbone.body
    with torch.inference_mode():
        x = body.maxpool(body.relu(body.bn1(body.conv1(pixels.contiguous()))))
        found = {"stem": golden.error(CASE, "stem", x[0])}
        for stage in range(1, stages + 1):
            x = body[f"layer{stage}"](x)
            found[f"c{stage + 1}"] = golden.error(CASE, f"c{stage + 1}", x[0])
    return found


# ------------------------------------------------------------------ each stage is right


def test_input_and_body(golden: Golden, network: MaskRCNN, batch: Batch) -> None:
    assert golden.error(CASE, "input", batch.pixels[0]) == 0
    errors = body_errors(golden, network, batch.pixels, stages=4)
    assert len(errors) == 5
    assert max(errors.values()) <= 1, errors


def test_pyramid_and_proposal_head(golden: Golden, dense: Dense) -> None:
    for level, features in enumerate(dense.levels, start=2):
        assert golden.error(CASE, f"p{level}", features[0]) <= 1
    assert golden.error(CASE, "rpn_logits", rows(dense.heads, 0, 3, 1)[:, 0]) <= 1
    assert golden.error(CASE, "rpn_deltas", rows(dense.heads, 3, 15, 4)[::4]) <= 1


def test_anchors(golden: Golden, network: MaskRCNN) -> None:
    grid = make_grid(network.rpn.anchor_generator, PADDED, CPU, DETECTRON2.strides)
    assert golden.error(CASE, "anchors", grid.anchors[::4]) <= 1


def proposals_found(golden: Golden, network: MaskRCNN, dense: Dense, batch: Batch) -> int:
    """How many of the recorded proposals are found again."""
    grid = make_grid(network.rpn.anchor_generator, PADDED, CPU, DETECTRON2.strides)
    rules = ProposalRules.of(network, CPU, DETECTRON2.smallest_proposal)
    ours = propose(dense.heads, grid, batch.sizes, rules)
    boxes = ours.boxes[0][ours.valid[0]].numpy()
    theirs = golden.array(CASE, "proposal_boxes")
    near = np.abs(boxes[:, None] - theirs[None]).max(axis=2) < golden.tolerances["proposal_boxes"]
    return int(near.any(axis=0).sum())


def test_proposals(golden: Golden, network: MaskRCNN, dense: Dense, batch: Batch) -> None:
    assert proposals_found(golden, network, dense, batch) >= 998


@pytest.mark.parametrize("pool", [gathered, by_level], ids=["cpu", "gpu"])
def test_pooled_regions(
    golden: Golden, dense: Dense, recorded_proposals: Proposals, pool: Callable[..., Tensor]
) -> None:
    found = pooled(dense, recorded_proposals.boxes[0, :8], 7, pool).permute(0, 3, 1, 2)
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
def mask_logits(golden: Golden, network: MaskRCNN, dense: Dense) -> Tensor:
    """Of the first ten recorded detections."""
    boxes = torch.from_numpy(golden.array(CASE, "net_boxes")[:10])
    classes = torch.from_numpy(golden.array(CASE, "net_classes")[:10]).long() + 1
    regions = pooled(dense, boxes, 14)
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


@pytest.fixture
def own_body(network: MaskRCNN) -> MaskRCNN:
    """The same weights in a body of its own, to be changed."""
    from pipeline.models.mask_rcnn.detectron2.network import mask_rcnn

    with torch.device("meta"):
        other = mask_rcnn("resnet50", 80)
    other.load_state_dict(network.state_dict(), assign=True)
    return other.eval()


def test_strides_in_the_3x3_are_seen(golden: Golden, own_body: MaskRCNN, batch: Batch) -> None:
    put_strides_first(own_body.backbone.body)  # back again
    errors = body_errors(golden, own_body, batch.pixels, stages=2)
    assert errors["c2"] <= 1
    assert errors["c3"] > 100


@pytest.mark.parametrize("eps", [0.0, 1e-3])
def test_another_eps_of_the_norms_is_seen(
    golden: Golden, own_body: MaskRCNN, batch: Batch, eps: float
) -> None:
    for module in own_body.backbone.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = eps
    assert body_errors(golden, own_body, batch.pixels, stages=1)["c2"] > 10


def test_rgb_is_seen(golden: Golden, network: MaskRCNN, batch: Batch) -> None:
    turned = batch.pixels.flip(1)
    assert golden.error(CASE, "input", turned[0]) > 100
    assert body_errors(golden, network, turned, stages=0)["stem"] > 100


def test_the_deviations_of_x101_are_seen(golden: Golden, network: MaskRCNN) -> None:
    divided = batch_of(golden, CASE, network, std=(57.375, 57.12, 58.395))
    assert golden.error(CASE, "input", divided.pixels[0]) > 100


def _rounded(network: MaskRCNN) -> dict[str, Any]:
    sizes = tuple((size,) for size in (32, 64, 128, 256, 512))
    return {"generator": AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)}


def _centred(network: MaskRCNN) -> dict[str, Any]:
    generator = AnchorGenerator()
    cells = network.rpn.anchor_generator.cell_anchors
    generator.cell_anchors = [
        cell + stride / 2 for cell, stride in zip(cells, DETECTRON2.strides or (), strict=True)
    ]
    return {"generator": generator}


@pytest.mark.parametrize(
    "change",
    [_rounded, _centred, lambda network: {"strides": None}],
    ids=["rounded", "centred", "strides-of-the-padded-size"],
)
def test_other_anchors_are_seen(
    golden: Golden, network: MaskRCNN, change: Callable[[MaskRCNN], dict[str, Any]]
) -> None:
    settings = {
        "generator": network.rpn.anchor_generator,
        "strides": DETECTRON2.strides,
        **change(network),
    }
    grid = make_grid(padded=PADDED, device=CPU, **settings)
    assert golden.error(CASE, "anchors", grid.anchors[::4]) > 100


def by_torchvision(aligned: bool, samples: int, *problem: Any) -> Tensor:
    """Torchvision's operation, of the first level alone."""
    from torchvision.ops import roi_align

    table, layout, boxes, pictures, size = problem
    height, width = layout.on_host[0]
    features = table[: height * width].view(1, height, width, -1).permute(0, 3, 1, 2)
    regions = torch.cat([pictures[:, None].float(), boxes], dim=1)
    return roi_align(features, regions, size, 0.25, samples, aligned).permute(0, 2, 3, 1)


@pytest.mark.parametrize(
    ("aligned", "samples", "seen"),
    [(True, 0, False), (False, 0, True), (True, 2, True)],
    ids=["right", "not-aligned", "two-samples"],
)
def test_another_roi_align_is_seen(
    golden: Golden,
    dense: Dense,
    recorded_proposals: Proposals,
    aligned: bool,
    samples: int,
    seen: bool,
) -> None:
    boxes = recorded_proposals.boxes[0]
    layout = make_layout(level_shapes(PADDED)[:-1], 1, CPU, least_areas=LEAST_AREAS)
    sides = boxes[:, 2:] - boxes[:, :2]
    on_finest = (sides.prod(dim=1) < layout.least_areas[0]).nonzero()[:, 0]
    right = pooled(dense, boxes[on_finest], 7)
    other = pooled(dense, boxes[on_finest], 7, partial(by_torchvision, aligned, samples))
    difference = float((right - other).abs().max()) / golden.tolerances["box_pooled"]
    assert (difference > 100) if seen else (difference <= 1)


def test_other_numbers_of_the_selection_are_seen(
    golden: Golden,
    network: MaskRCNN,
    dense: Dense,
    batch: Batch,
    scored: tuple[Tensor, Tensor],
    recorded_proposals: Proposals,
) -> None:
    grid = make_grid(network.rpn.anchor_generator, PADDED, CPU, DETECTRON2.strides)
    rules = ProposalRules.of(network, CPU, DETECTRON2.smallest_proposal)
    fewer = propose(dense.heads, grid, batch.sizes, replace(rules, total=300))
    assert int(fewer.valid.sum()) == 300
    keeps = DetectionRules.of(network, 0.05, CPU, DETECTRON2.smallest_detection)
    laxer = detect(*softmax(scored), recorded_proposals, batch.sizes, replace(keeps, overlap=0.6))
    assert detections_found(golden, laxer) < 98


def test_the_background_in_another_place_is_seen(
    golden: Golden,
    network: MaskRCNN,
    batch: Batch,
    scored: tuple[Tensor, Tensor],
    recorded_proposals: Proposals,
) -> None:
    logits, deltas = scored
    keeps = DetectionRules.of(network, 0.05, CPU, DETECTRON2.smallest_detection)
    as_in_the_file = logits.roll(-1, 1), deltas.roll(-1, 1)
    found = detect(*softmax(as_in_the_file), recorded_proposals, batch.sizes, keeps)
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
