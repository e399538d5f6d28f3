"""How alike the engine's answers and torchvision's are: as a whole, and stage by stage.

Used by the parity tests and `benchmarks/parity.py`; not used to serve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from benchmarks.reference import torchvision_forward
from pipeline.masks import Masks
from pipeline.models.mask_rcnn.bench import to_torchvision
from pipeline.models.mask_rcnn.engine.anchors import level_shapes, make_grid
from pipeline.models.mask_rcnn.engine.box_head import BoxHead
from pipeline.models.mask_rcnn.engine.dense import DensePart
from pipeline.models.mask_rcnn.engine.detections import DetectionRules, detect
from pipeline.models.mask_rcnn.engine.mask_head import MaskHead
from pipeline.models.mask_rcnn.engine.operators.preprocess import InputRules, prepare
from pipeline.models.mask_rcnn.engine.operators.roi_align import make_layout, make_table, roi_align
from pipeline.models.mask_rcnn.engine.proposals import ProposalRules, Proposals, propose
from pipeline.models.mask_rcnn.found import Found
from pipeline.models.shared.layers import conv_maker

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Tolerance:
    """What still counts as the same detection."""

    box_px: float = 0.05
    score: float = 1e-4
    mask_iou: float = 0.999


def matched(ours: Found, theirs: Found, within: Tolerance | None = None) -> NDArray[np.bool_]:
    """Which of their detections have one of ours to themselves: class, box, score and mask.

    Args:
        ours: of one picture.
        theirs: of the same picture, (N,).
        within: how close a partner must be in all of these.

    Returns:
        (N,); as many are matched as possible.
    """
    within = within or Tolerance()
    score = np.abs(theirs.scores[:, None] - ours.scores[None]) <= within.score
    box = np.abs(theirs.boxes[:, None] - ours.boxes[None]).max(axis=2) <= within.box_px
    same = score & box & (theirs.classes[:, None] == ours.classes[None])
    same &= _ious(theirs, ours) >= within.mask_iou
    rows, columns = linear_sum_assignment(same, maximize=True)
    result = np.zeros(len(theirs.scores), bool)
    result[rows] = same[rows, columns]
    return result


def _ious(a: Found, b: Found) -> NDArray[np.float64]:
    first, second = _masks(a), _masks(b)
    both_empty = (first.areas() == 0)[:, None] & (second.areas() == 0)[None]
    return np.where(both_empty, 1.0, first.iou(second))


def _masks(found: Found) -> Masks:
    if found.masks is not None:
        return found.masks
    return Masks.paste(found.probabilities, found.boxes, found.size)


def near_ties(
    network: MaskRCNN,
    image: NDArray[np.uint8],
    found: Found,
    rows: NDArray[np.bool_],
    within: Tolerance | None = None,
) -> NDArray[np.bool_]:
    """Which detections torchvision loses itself when its weights move by a rounding error.

    Args:
        network: torchvision's; the bias of its first norm is moved by 1e-6 to 16e-6 and put back.
        image: the picture.
        found: what torchvision found in it.
        rows: the detections to ask about, (N,).
        within: how close a detection must be to be the same.

    Returns:
        (N,), true only where `rows` is.
    """
    lost = np.zeros_like(rows)
    norm = network.backbone.body.bn1
    kept = norm.bias.clone()
    try:
        for step in range(1, 17):
            if (lost[rows]).all():
                break
            random = torch.Generator().manual_seed(step)  # its own direction for each channel
            signs = torch.randint(0, 2, kept.shape, generator=random) * 2 - 1
            norm.bias.copy_(kept + 1e-6 * step * (signs if step % 2 else (-1) ** (step // 2)))
            (other,) = torchvision_forward(network, [image])
            lost |= rows & ~matched(other, found, within)
    finally:
        norm.bias.copy_(kept)
    return lost


def stage_errors(network: MaskRCNN, image: NDArray[np.uint8]) -> dict[str, float]:
    """What each stage adds in float32 on a CPU: ours and torchvision's, from torchvision's inputs.

    Returns:
        By stage, the largest difference in parts of the largest number; of the two stages that
        select, the share of torchvision's boxes that ours do not have within 1e-4 of their size.
    """
    with torch.inference_mode():
        return _StageErrors(network, image).all()


class _StageErrors:
    """torchvision's forward of one picture, step by step, and our steps beside it."""

    def __init__(self, network: MaskRCNN, image: NDArray[np.uint8]) -> None:
        self._network, self._image = network, image
        self._make = conv_maker(_CPU, torch.float32)
        self._errors: dict[str, float] = {}

    def all(self) -> dict[str, float]:
        network, heads = self._network, self._network.roi_heads
        inputs, _ = network.transform([to_torchvision(self._image)])
        sizes = inputs.image_sizes
        resized = torch.tensor(sizes, dtype=torch.float32)
        batch = prepare([self._image], InputRules.of(network), torch.float32)
        self._note("preprocess", batch.pixels, inputs.tensors)
        features = network.backbone(inputs.tensors)
        levels = list(features.values())
        stacked = self._dense(inputs.tensors, levels)
        (proposals,), _ = network.rpn(inputs, features)
        self._proposals(stacked, inputs.tensors, resized, proposals)
        shapes = level_shapes((inputs.tensors.shape[2], inputs.tensors.shape[3]))[:-1]
        layout, table = make_layout(shapes, 1, _CPU), make_table(levels[:-1])
        pooled = heads.box_roi_pool(features, [proposals], sizes)
        nearby = torch.zeros(len(proposals), dtype=torch.int64)
        size = heads.box_roi_pool.output_size[0]
        ours = roi_align(table, layout, proposals, nearby, size)
        self._note("RoIAlign", ours.permute(0, 3, 1, 2), pooled)
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        box_head = BoxHead(network, self._make, _CPU, torch.float32)
        our_logits, our_deltas = box_head(pooled.permute(0, 2, 3, 1).contiguous())
        self._note("box head, logits", our_logits, logits)
        self._note("box head, deltas", our_deltas.flatten(1), deltas)
        (boxes,), _, (labels,) = heads.postprocess_detections(logits, deltas, [proposals], sizes)
        valid = torch.ones(1, len(proposals), dtype=torch.bool)
        found = detect(
            logits.softmax(dim=1),
            torch.unflatten(deltas, 1, (-1, 4)),
            Proposals(proposals[None], valid),
            resized,
            DetectionRules.of(network, heads.score_thresh, _CPU),
        )
        self._compare("detections", found.boxes[0, : int(found.count[0])], boxes)
        if len(boxes):
            pooled = heads.mask_head(heads.mask_roi_pool(features, [boxes], sizes))
            theirs = heads.mask_predictor(pooled)[torch.arange(len(boxes)), labels]
            mask_head = MaskHead(network, self._make, _CPU, torch.float32)
            regions = heads.mask_roi_pool(features, [boxes], sizes).permute(0, 2, 3, 1)
            self._note("mask head", mask_head(regions.contiguous(), labels), theirs)
        return self._errors

    def _dense(self, pictures: Tensor, levels: list[Tensor]) -> list[Tensor]:
        """Compare the dense part; torchvision's head outputs in our layout."""
        logits, deltas = self._network.rpn.head(levels)
        stacked = [
            torch.cat([a, b], dim=1).permute(0, 2, 3, 1).flatten(1, 2)
            for a, b in zip(logits, deltas, strict=True)
        ]
        dense = DensePart(self._network, self._make)
        ours = dense(pictures.contiguous(memory_format=torch.channels_last))
        for level, theirs in zip(ours.levels, levels, strict=True):
            self._note("body and pyramid", level, theirs)
        a = self._network.rpn.anchor_generator.num_anchors_per_location()[0]
        for head, theirs in zip(ours.heads, stacked, strict=True):
            self._note("proposal head, logits", head[..., :a], theirs[..., :a])
            self._note("proposal head, deltas", head[..., a:], theirs[..., a:])
        return stacked

    def _proposals(
        self, heads: list[Tensor], pictures: Tensor, resized: Tensor, theirs: Tensor
    ) -> None:
        padded = (pictures.shape[2], pictures.shape[3])
        grid = make_grid(self._network.rpn.anchor_generator, padded, _CPU)
        ours = propose(heads, grid, resized, ProposalRules.of(self._network, _CPU))
        self._compare("proposals", ours.boxes[0][ours.valid[0]], theirs)

    def _note(self, stage: str, ours: Tensor, theirs: Tensor) -> None:
        error = float((ours - theirs).abs().max() / theirs.abs().max())
        self._errors[stage] = max(error, self._errors.get(stage, 0.0))

    def _compare(self, stage: str, ours: Tensor, theirs: Tensor) -> None:
        """As sets: of equal scores any may come first."""
        if not len(theirs):
            self._errors[stage] = float(len(ours) > 0)
            return
        close = torch.cdist(ours, theirs, p=torch.inf) <= 1e-4 * theirs.abs().max()
        missing = int((~close.any(dim=0)).sum()) if len(ours) else len(theirs)
        self._errors[stage] = missing / len(theirs)
