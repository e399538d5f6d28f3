"""From a CondInst's outputs to the instances of one picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from pipeline.arrays import Size
from pipeline.instances import Instances
from pipeline.models.condinst.network import LAYERS, STRIDES, CondInstOutputs, aligned
from pipeline.models.shared.enlarging import Enlarging, aligned_to_first, half_pixel
from pipeline.models.shared.raster import instances_of

SURE = 0.05
PER_LEVEL = 1000
OVERLAP = 0.6
LIMIT = 100
SIZES_OF_INTEREST = (64, 128, 256, 512, 1024)
"""By which a level's relative coordinates are divided."""
MASK_STRIDE = 8
_NUMBERS_AT_A_TIME = 1 << 20


@dataclass(frozen=True, slots=True)
class SelectionRule:
    """How a publisher chooses detections; nothing in a file tells."""

    with_centreness: bool
    """Whether class times centre-ness has to be likely enough, or the class alone;"""
    rooted: bool
    """whether the score is the root of that product;"""
    clipped_first: bool
    """whether boxes are cut to the picture before they are compared, or only at the end."""


ADELAIDET_SELECTION = SelectionRule(with_centreness=True, rooted=True, clipped_first=False)
OPENMMLAB_SELECTION = SelectionRule(with_centreness=False, rooted=False, clipped_first=True)


@dataclass(frozen=True)
class Places:
    """Detections, one a row, where they were seen."""

    boxes: Tensor
    """(N, 4) xyxy in pixels of the network's input; may reach out of it."""
    scores: Tensor
    classes: Tensor
    """(N,) int64 rows of the class head."""
    levels: Tensor
    """(N,) int64, 0 is p3."""
    points: Tensor
    """(N, 2) x and y in pixels of the network's input."""
    numbers: Tensor
    """(N, 169): of the network that makes the mask."""

    def __getitem__(self, rows: Tensor) -> Places:
        """Choose rows, in that order."""
        return Places(
            self.boxes[rows],
            self.scores[rows],
            self.classes[rows],
            self.levels[rows],
            self.points[rows],
            self.numbers[rows],
        )


def find_instances(
    outputs: CondInstOutputs,
    picture: int,
    inner: Size,
    size: Size,
    ids: NDArray[np.int64],
    selection: SelectionRule,
    threshold: float = 0.0,
) -> Instances:
    """What is in one picture of a batch, by falling score.

    Args:
        outputs: of the batch.
        picture: which one.
        inner: its (height, width) within the network's input.
        size: (height, width) of the masks.
        ids: class ids by row of the class head.
        selection: the publisher's.
        threshold: a score has to be above it.
    """
    found = select(outputs, picture, inner, selection, threshold)
    scale = torch.tensor([size[1] / inner[1], size[0] / inner[0]], device=found.boxes.device)
    boxes = clip_boxes_to_image(found.boxes * scale.repeat(2), size)
    there = (boxes[:, 2:] > boxes[:, :2]).all(dim=1) & (found.scores > threshold)
    found, boxes = found[there], boxes[there]
    features = outputs.features[picture].float()
    height, width = (2 * side for side in features.shape[1:])
    rows, columns = lines(height, inner[0], size[0]), lines(width, inner[1], size[1])
    everyone = torch.arange(len(boxes), device=boxes.device)
    masks = Enlarging(rows, columns, features.device).masks(
        likely
        for some in torch.split(everyone, max(1, _NUMBERS_AT_A_TIME // (height * width)))
        for likely in mask_maps(found[some], features)
    )
    ids_found = ids[found.classes.cpu().numpy()]
    return instances_of(masks, found.scores.cpu().numpy(), ids_found, boxes.cpu().numpy())


def lines(given: int, within: int, wanted: int) -> Tensor:
    """(wanted, given): along an axis, enlarged four times, cut to the picture, and to its size."""
    return half_pixel(within, wanted, aligned_to_first(given, 4)[:within])


def mask_maps(found: Places, features: Tensor) -> Tensor:
    """(N, 2 * H, 2 * W): how likely each place is in the mask of each instance."""
    return mask_logits(found, features).sigmoid_()


def select(
    outputs: CondInstOutputs,
    picture: int,
    inner: Size,
    selection: SelectionRule,
    threshold: float = 0.0,
) -> Places:
    """The best hundred places of a picture that no better one of their class covers, best first.

    More, where the hundredth score is shared.
    """
    least = threshold**2 if selection.rooted else threshold
    parts = [_level(outputs, picture, level, selection, least) for level in range(len(STRIDES))]
    fields = zip(
        *((p.boxes, p.scores, p.classes, p.levels, p.points, p.numbers) for p in parts), strict=True
    )
    found = Places(*(torch.cat(field) for field in fields))
    if selection.clipped_first:
        boxes = clip_boxes_to_image(found.boxes, inner)
        found = Places(
            boxes, found.scores, found.classes, found.levels, found.points, found.numbers
        )[remove_small_boxes(boxes, 1e-6)]
    found = found[batched_nms(found.boxes, found.scores, found.classes, OVERLAP)]
    if len(found.scores) > LIMIT:
        found = found[torch.nonzero(found.scores >= found.scores[LIMIT - 1])[:, 0]]
    return found


def _level(
    outputs: CondInstOutputs, picture: int, level: int, selection: SelectionRule, least: float
) -> Places:
    """Places of a level that are likely enough, at most a thousand."""
    classes = outputs.classes[level][picture].float().sigmoid().flatten(1).T
    central = outputs.centreness[level][picture].float().sigmoid().flatten(1).T
    distances = outputs.distances[level][picture].float().flatten(1).T * STRIDES[level]
    numbers = outputs.numbers[level][picture].flatten(1).T
    chosen_by = classes * central if selection.with_centreness else classes
    place, label = torch.nonzero(chosen_by > max(SURE, least), as_tuple=True)
    if len(place) > PER_LEVEL:
        best = chosen_by[place, label].topk(PER_LEVEL, sorted=False).indices
        place, label = place[best], label[best]
    scores = score_of(classes[place, label], central[place, 0], selection.rooted)
    points = grid_points(outputs.classes[level], STRIDES[level])[place]
    away = distances[place]
    return Places(
        torch.cat([points - away[:, :2], points + away[:, 2:]], dim=1),
        scores,
        label,
        torch.full_like(label, level),
        points,
        numbers[place].float(),
    )


def score_of(classes: Tensor, centreness: Tensor, rooted: bool) -> Tensor:
    """Of detections by how likely their class is and how central they lie, both in [0, 1]."""
    product = classes * centreness
    return product.sqrt() if rooted else product


def grid_points(level: Tensor, stride: int) -> Tensor:
    """(H * W, 2) x and y of the middles of a map's cells, in pixels of the network's input."""
    height, width = level.shape[-2:]
    x = torch.arange(width, device=level.device) * stride + stride // 2
    y = torch.arange(height, device=level.device) * stride + stride // 2
    return torch.stack([x.repeat(height), y.repeat_interleave(width)], dim=1).float()


def mask_logits(found: Places, features: Tensor) -> Tensor:
    """(N, 2 * H, 2 * W) mask logits: every network run over (8, H, W) features, then enlarged."""
    height, width = features.shape[1:]
    n = len(found.numbers)
    x = network_input(found, features).flatten(2)
    weights, biases = split_numbers(found.numbers)
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = torch.baddbmm(bias, weight, x)
        if number < len(LAYERS) - 1:
            x.relu_()
    return aligned(x.view(n, 1, height, width), 2)[:, 0]


def network_input(found: Places, features: Tensor) -> Tensor:
    """(N, 10, H, W): how far a pixel is from each instance (x, y), and the features.

    The way goes from the pixel to the instance and is measured in sizes of interest.
    """
    sizes = torch.tensor(SIZES_OF_INTEREST, device=features.device)[found.levels]
    points = grid_points(features, MASK_STRIDE)
    away = (found.points[:, :, None] - points.T) / sizes[:, None, None]
    n, (height, width) = len(away), features.shape[1:]
    return torch.cat([away.view(n, 2, height, width), features.expand(n, -1, -1, -1)], dim=1)


def split_numbers(numbers: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Weights (N, outputs, inputs) and biases (N, outputs, 1) by layer: all weights come first."""
    n = len(numbers)
    lengths = [inputs * outputs for inputs, outputs in LAYERS]
    parts = torch.split(numbers, [*lengths, *(outputs for _, outputs in LAYERS)], dim=1)
    weights = [
        part.reshape(n, outputs, inputs)
        for part, (inputs, outputs) in zip(parts, LAYERS, strict=False)
    ]
    return weights, [part[:, :, None] for part in parts[len(LAYERS) :]]
