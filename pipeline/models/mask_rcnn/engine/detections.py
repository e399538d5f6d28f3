"""From class scores and deltas of P proposals to the best D detections, in fixed shapes.

The best K of all P × classes scores are chosen first and only these are decoded. That is exact as
long as all scores above the threshold are among them, or D of them survive suppression; otherwise
`BoxDetections.missing` says so, and the caller repeats with a larger K.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from pipeline.models.mask_rcnn.engine.boxes import clip, decode, large_enough
from pipeline.models.mask_rcnn.engine.operators.nms import Nms, nms
from pipeline.models.mask_rcnn.engine.proposals import Proposals

CANDIDATES = 1000


@dataclass(frozen=True)
class DetectionRules:
    """The settings of torchvision's RoI heads, and the score threshold of ours."""

    threshold: float
    overlap: float
    limit: int
    smallest: float
    """Least width and height in the resized picture."""
    weights: Tensor

    @staticmethod
    def of(
        network: MaskRCNN, threshold: float, device: torch.device, smallest: float = 1e-2
    ) -> DetectionRules:
        """Read from a network."""
        heads = network.roi_heads
        return DetectionRules(
            threshold,
            heads.nms_thresh,
            heads.detections_per_img,
            smallest,
            torch.tensor(heads.box_coder.weights, device=device),
        )


@dataclass(frozen=True)
class BoxDetections:
    """At most D detections for each of B pictures, best first."""

    boxes: Tensor
    """(B, D, 4) float32 in the resized picture."""
    scores: Tensor
    """(B, D) float32; minus infinity behind the last one."""
    classes: Tensor
    """(B, D) int64."""
    count: Tensor
    """(B,) int64."""
    missing: Tensor
    """(B,) int64: the K that is exact where this one was not; 0 where it was."""


def detect(
    probabilities: Tensor,
    deltas: Tensor,
    proposals: Proposals,
    sizes: Tensor,
    rules: DetectionRules,
    candidates: int = CANDIDATES,
    suppress: Nms = nms,
) -> BoxDetections:
    """Select detections.

    Args:
        probabilities: (B * P, classes) float32, background first.
        deltas: (B * P, classes, 4) float32; or (B * P, 1, 4), the same for all classes.
        proposals: where they were pooled.
        sizes: (B, 2) height and width of the resized pictures.
        rules: what to keep.
        candidates: K.
        suppress: the form of non-maximum suppression for the device.
    """
    batch, count = proposals.valid.shape
    classes = probabilities.shape[1]
    scores = probabilities.view(batch, count, classes)[..., 1:]
    scores = torch.where(proposals.valid[..., None], scores, -math.inf).flatten(1)
    above = (scores > rules.threshold).sum(dim=1)
    best, index = _ranked(scores, min(candidates, scores.shape[1]))
    place, label = index // (classes - 1), index % (classes - 1) + 1
    row = place + torch.arange(batch, device=index.device)[:, None] * count
    at = proposals.boxes.view(-1, 4)[row]
    own = deltas[row, label] if deltas.shape[1] > 1 else deltas[row, 0]
    boxes = clip(decode(own, at, rules.weights), sizes)
    good = (best > rules.threshold) & large_enough(boxes, rules.smallest)
    best = torch.where(good, best, -math.inf)
    keep = suppress(boxes, label, best, rules.overlap, 1, rules.limit)
    best, index = _ranked(torch.where(keep, best, -math.inf), min(rules.limit, best.shape[1]))
    found = (best >= 0).sum(dim=1)
    return BoxDetections(
        boxes.gather(1, index[..., None].expand(-1, -1, 4)),
        best,
        label.gather(1, index),
        found,
        torch.where((above <= candidates) | (found >= rules.limit), 0, above),
    )


def _ranked(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best scores (B, count) of each row and their places; of equal ones the first is better.

    Thin proposals that share all their features have equal scores, and it is their order that
    decides which of them suppresses the others.
    """
    index = scores.topk(count, dim=1, sorted=False).indices.sort(dim=1).values
    best, order = scores.gather(1, index).sort(dim=1, descending=True, stable=True)
    return best, index.gather(1, order)
