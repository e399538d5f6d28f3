"""The straightforward forward of detectron2's families, in plain torch and torchvision, in fp32.

Step by step as the published code does it (detectron2's `cascade_rcnn.py`, `keypoint_head.py` and
`projects/PointRend`), for `benchmarks/detectron2.py` to measure against. torchvision pastes masks,
each onto the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints, paste_masks_in_image
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import batched_nms, clip_boxes_to_image, roi_align

from pipeline.arrays import Size
from pipeline.models.mask_rcnn.detectron2.preprocess import ShortestEdge

Picture = NDArray[np.uint8]
Last = Callable[[Any, list[Tensor], Tensor, Tensor], Tensor]
"""Roi heads, levels p2 to p5, boxes and classes of detections to what is said of them."""
STRIDES = (4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Detected:
    """Boxes of one picture, before the last head."""

    levels: list[Tensor]
    """p2 to p5."""
    size: Size
    """Of the resized picture, which boxes lie in."""
    proposals: int
    boxes: Tensor
    scores: Tensor
    classes: Tensor
    """Rows of the class head, the background first."""


@dataclass(frozen=True)
class Plain:
    """What a plain forward finds, boxes in pixels of the picture."""

    proposals: int
    boxes: Tensor
    scores: Tensor
    classes: Tensor
    said: Tensor
    """What the last head says inside the boxes: mask logits, or points (N, K, 3)."""
    masks: Tensor | None
    """(N, H, W) bool; None: it finds points."""


def plain(network: Any, last: Last, picture: Picture, threshold: float) -> Plain:
    """One picture (H, W, 3) BGR to at most 100 detections of scores above the threshold."""
    found = detected(network, picture, threshold)
    said = last(network.roi_heads, found.levels, found.boxes, found.classes)
    height, width = picture.shape[:2]
    scale = torch.tensor([width / found.size[1], height / found.size[0]])
    boxes = clip_boxes_to_image(found.boxes * scale.repeat(2), (height, width))
    whole = partial(Plain, found.proposals, boxes, found.scores, found.classes)
    if last is points:
        said[..., :2] *= scale
        return whole(said, None)
    pasted = paste_masks_in_image(said[:, None].sigmoid(), boxes, (height, width))
    return whole(said, pasted[:, 0] > 0.5)


def detected(network: Any, picture: Picture, threshold: float, most: int = 100) -> Detected:
    """All before the last head; `most` detections remain."""
    pixels, size = prepared(network, picture)
    levels = list(network.backbone(pixels).values())
    proposals = proposed(network, levels, size)
    scores, boxes = scored(network.roi_heads, levels[:-1], proposals, size)
    return Detected(levels[:-1], size, len(proposals), *chosen(scores, boxes, threshold, most))


def prepared(network: Any, picture: Picture) -> tuple[Tensor, Size]:
    """Pixels (1, 3, H, W), padded to whole cells, and the size before that."""
    rule = ShortestEdge.of(network)
    (height, width), (tall, wide) = (f(picture.shape[:2]) for f in (rule.resized, rule.padded))
    small = Pillow.fromarray(picture).resize((width, height), Pillow.Resampling.BILINEAR)
    mean, std = torch.tensor(rule.mean), torch.tensor(rule.std)
    pixels = ((torch.tensor(np.asarray(small)) - mean) / std).permute(2, 0, 1)[None]
    pixels = F.pad(pixels, (0, wide - width, 0, tall - height))
    return pixels.contiguous(), (height, width)


def proposed(network: Any, levels: list[Tensor], size: Size) -> Tensor:
    """The proposals (N, 4)."""
    rpn = network.rpn
    objectness, deltas = rpn.head(levels)
    counts = [one[0].numel() for one in objectness]
    strides = [[torch.tensor(stride)] * 2 for stride in STRIDES]
    shapes = [level.shape[-2:] for level in levels]
    anchors = torch.cat(rpn.anchor_generator.grid_anchors(shapes, strides))
    objectness, deltas = concat_box_prediction_layers(objectness, deltas)
    boxes = rpn.box_coder.decode(deltas, [anchors]).view(1, -1, 4)
    (kept,), _ = rpn.filter_proposals(boxes, objectness, [size], counts)
    return kept


def pooled(levels: list[Tensor], boxes: Tensor, side: int) -> Tensor:
    """Regions (N, C, side, side), each from the level that its area says."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    level = (4 + (areas.sqrt() / 224 + 1e-8).log2()).floor().clamp(2, 5) - 2
    found = levels[0].new_empty(len(boxes), levels[0].shape[1], side, side)
    for number, features in enumerate(levels):
        some = (level == number).nonzero()[:, 0]
        scale = 1 / STRIDES[number]
        found[some] = roi_align(features, [boxes[some]], side, scale, 0, aligned=True)
    return found


def scored(heads: Any, levels: list[Tensor], boxes: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Scores (N, rows) and boxes (N, rows, 4) of all stages one behind another, of most one."""
    stages = [(heads.box_head, heads.box_predictor, heads.box_coder.weights)]
    if isinstance(heads.box_head, nn.ModuleList):
        stages = [*zip(heads.box_head, heads.box_predictor, heads.stage_weights, strict=True)]
    scores = []
    for head, predictor, weights in stages:
        logits, deltas = predictor(head(pooled(levels, boxes, 7)))
        scores.append(logits.softmax(dim=-1))
        moved = clip_boxes_to_image(BoxCoder(weights).decode(deltas, [boxes]), size)
        boxes = moved[:, 0]  # where there is another stage, boxes are the same for all classes
    mean = torch.stack(scores).mean(dim=0)
    return mean, moved.expand(-1, mean.shape[1], -1)


def chosen(
    scores: Tensor, boxes: Tensor, threshold: float, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4), scores and classes by falling score, each class suppressed on its own."""
    row, classes = (scores[:, 1:] > threshold).nonzero().unbind(1)
    classes = classes + 1
    some, values = boxes[row, classes], scores[row, classes]
    kept = batched_nms(some, values, classes, 0.5)[:most]
    return some[kept], values[kept], classes[kept]


def masks(heads: Any, levels: list[Tensor], boxes: Tensor, classes: Tensor) -> Tensor:
    """Logits (N, 28, 28)."""
    logits = heads.mask_predictor(heads.mask_head(pooled(levels, boxes, 14)))
    own: Tensor = logits[torch.arange(len(classes)), classes]
    return own


def points(heads: Any, levels: list[Tensor], boxes: Tensor, _: Tensor) -> Tensor:
    """(N, K, 3) x, y in the resized picture, and what the heat map says there."""
    maps = heads.keypoint_predictor(heads.keypoint_head(pooled(levels, boxes, 14)))
    at, values = heatmaps_to_keypoints(maps, boxes)
    return torch.cat([at[..., :2], values[..., None]], dim=-1)


def refined(heads: Any, levels: list[Tensor], boxes: Tensor, classes: Tensor) -> Tensor:
    """Logits (N, 224, 224): those of all classes are doubled and mended, as published."""
    coarse_head, point_head = heads.mask_head.values()
    count, each = len(boxes), torch.arange(len(boxes))
    x = _at(levels[0], boxes, _cells(torch.arange(14 * 14), 14).expand(count, -1, -1))
    x = coarse_head.reduce_spatial_dim_conv(x.view(count, -1, 14, 14)).relu().flatten(1)
    x = coarse_head.fc2(coarse_head.fc1(x).relu()).relu()
    coarse = coarse_head.prediction(x).view(count, -1, 7, 7)

    def say(at: Tensor) -> Tensor:
        x = _at(levels[0], boxes, at)
        beside = F.grid_sample(coarse, at[:, :, None] * 2 - 1, align_corners=False)[..., 0]
        for layer in (point_head.fc1, point_head.fc2, point_head.fc3):
            x = layer(torch.cat([x, beside], dim=1)).relu()
        said: Tensor = point_head.predictor(torch.cat([x, beside], dim=1))
        return said

    logits = say(_cells(torch.arange(28 * 28), 28).expand(count, -1, -1)).view(count, -1, 28, 28)
    for _ in range(3):
        logits = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
        sure = logits[each, classes - 1].flatten(1).abs()
        index = sure.topk(28 * 28, dim=1, largest=False).indices
        mended = say(_cells(index, logits.shape[-1]))
        places = index[:, None].expand_as(mended)
        logits = logits.flatten(2).scatter_(2, places, mended).view_as(logits)
    return logits[each, classes - 1]


def _cells(index: Tensor, side: int) -> Tensor:
    return torch.stack([index % side, index // side], dim=-1).add(0.5).div(side)


def _at(features: Tensor, boxes: Tensor, at: Tensor) -> Tensor:
    """(N, C, P) of the finest level at points (N, P, 2) in [0, 1] of boxes."""
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    height, width = features.shape[-2:]
    at = (at * (high - low) + low) / STRIDES[0] / torch.tensor([width, height])
    found = F.grid_sample(features, at[None] * 2 - 1, align_corners=False)
    return found[0].transpose(0, 1)
