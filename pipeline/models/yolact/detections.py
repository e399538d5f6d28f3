"""From outputs to detections of one picture: threshold, fast suppression, the best hundred."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.models.yolact.priors import decode

SURE = 0.05
"""A prior counts only if one of its classes is more likely than this."""
OVERLAP = 0.5
PER_CLASS = 200
LIMIT = 100


@dataclass(frozen=True)
class YolactDetections:
    """At most 100 detections of one picture by falling score."""

    boxes: Tensor
    """(N, 4) float32 xyxy relative to the picture; may reach out of it."""
    scores: Tensor
    """(N,) float32: of the class."""
    classes: Tensor
    """(N,) int64 from 0, background left out."""
    coefficients: Tensor
    """(N, 32) float32."""


def detect(
    deltas: Tensor, logits: Tensor, coefficients: Tensor, priors: Tensor, threshold: float
) -> YolactDetections:
    """Choose detections of one picture, class by class.

    Fast suppression (YOLACT, section 4.2): a box goes if any better one of its class covers it,
    also one that is gone itself.

    Args:
        deltas: (P, 4).
        logits: (P, classes), background first.
        coefficients: (P, 32).
        priors: (P, 4).
        threshold: a class below is left out; changes nothing of what is above.
    """
    scores = torch.softmax(logits.float(), dim=1)[:, 1:]
    best = scores.amax(dim=1)
    rows = torch.nonzero((best > SURE) & (best > threshold))[:, 0]
    scores = scores[rows]
    boxes = decode(deltas[rows].float(), priors[rows])
    places, labels, values = [], [], []
    for label in torch.nonzero((scores > threshold).any(dim=0))[:, 0].tolist():
        value, order = scores[:, label].sort(descending=True, stable=True)
        value, order = value[:PER_CLASS], order[:PER_CLASS]
        covered = overlaps(boxes[order]).triu_(1).amax(dim=0) > OVERLAP
        kept = ~covered & (value > threshold)
        places.append(order[kept])
        values.append(value[kept])
        labels.append(torch.full_like(places[-1], label))
    if not places:
        nothing = rows[:0]
        places, labels, values = [nothing], [nothing], [scores.new_zeros(0)]
    value, order = torch.cat(values).sort(descending=True, stable=True)
    value, order = value[:LIMIT], order[:LIMIT]
    place = torch.cat(places)[order]
    return YolactDetections(
        boxes[place], value, torch.cat(labels)[order], coefficients[rows[place]].float()
    )


def overlaps(boxes: Tensor) -> Tensor:
    """(N, N) intersection over union."""
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = (high - low).clamp_(min=0).prod(dim=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return common / (area[:, None] + area[None] - common)
