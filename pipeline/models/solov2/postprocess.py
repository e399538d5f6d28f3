"""From a SOLOv2's outputs to the instances of one picture: section 3.3 of the paper and matrix NMS.

The mask of a candidate is the sigmoid of its kernel times the features. It is computed, some
pixels or some candidates at a time, wherever it is looked at, and never kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Size
from pipeline.instances import Instances
from pipeline.models.shared.enlarging import Enlarging, half_pixel
from pipeline.models.shared.raster import instances_of
from pipeline.models.solov2.network import GRIDS, SoloOutputs

STRIDES = (8, 8, 16, 32, 32)
SURE = 0.1
"""A class counts only if it is more likely than this."""
MASK = 0.5
SEEN = 500
"""The best candidates, which the others are compared with."""
SIGMA = 2.0
DECAYED = 0.05
"""What is left of a score has to be at least this."""
LIMIT = 100
_NUMBERS_AT_A_TIME = 1 << 20


@dataclass(frozen=True)
class Candidates:
    """Classes of cells, one a row."""

    cells: Tensor
    """(N,) int64, counted level by level, row by row."""
    classes: Tensor
    """(N,) int64 rows of the class head."""
    scores: Tensor
    """(N,) float32."""

    def __getitem__(self, rows: Tensor) -> Candidates:
        """Choose candidates, in that order."""
        return Candidates(self.cells[rows], self.classes[rows], self.scores[rows])


def find_instances(
    outputs: SoloOutputs,
    picture: int,
    inner: Size,
    size: Size,
    ids: NDArray[np.int64],
    threshold: float = 0.0,
) -> Instances:
    """What is in one picture of a batch, by falling score.

    Args:
        outputs: of the batch.
        picture: which one.
        inner: its (height, width) within the network's input.
        size: (height, width) of the masks.
        ids: class ids by row of the class head.
        threshold: a score has to be above it.
    """
    features = outputs.features[picture].float()
    kernels = torch.cat([level[picture].flatten(1) for level in outputs.kernels], dim=1).T.float()
    scores = [
        points_nms(level[picture : picture + 1].float().sigmoid()) for level in outputs.categories
    ]
    found = candidates_of(torch.cat([level[0].flatten(1).T for level in scores]), threshold)
    found, _ = with_maskness(found, kernels, features.flatten(1), threshold)
    found = suppress(found, kernels, features.flatten(1))
    found = found[found.scores >= DECAYED]
    found = found[found.scores > threshold]
    order = found.scores.argsort(descending=True, stable=True)[:LIMIT]
    return _instances(found[order], kernels, features, inner, size, ids)


def points_nms(scores: Tensor) -> Tensor:
    """(B, C, H, W) with 0 where the cell to the left, above, or both has a higher score."""
    best = F.max_pool2d(scores, 2, stride=1, padding=1)[:, :, :-1, :-1]
    return scores * (scores == best)


def candidates_of(scores: Tensor, threshold: float = 0.0) -> Candidates:
    """What of (cells, classes) is likely enough; one cell may see several classes."""
    cells, classes = torch.nonzero(scores > max(SURE, threshold), as_tuple=True)
    return Candidates(cells, classes, scores[cells, classes])


def with_maskness(
    found: Candidates, kernels: Tensor, pixels: Tensor, threshold: float = 0.0
) -> tuple[Candidates, Tensor]:
    """The best candidates with their scores times how sure their masks are, by falling score.

    What has a mask no larger than its level's stride is left out. Cells with several classes have
    one mask.

    Args:
        found: of all cells.
        kernels: (cells, C).
        pixels: (C, P), the features.
        threshold: nothing at or below it is looked at any more; suppression only lowers scores.

    Returns:
        At most 500, and the areas of their masks.
    """
    cells, row = torch.unique(found.cells, return_inverse=True)
    area, total = measured(kernels[cells], pixels)
    strides = torch.tensor(STRIDES, device=cells.device).repeat_interleave(
        torch.tensor([side * side for side in GRIDS], device=cells.device)
    )
    sure = torch.where(area > strides[cells], total / area.clamp(min=1), 0)[row]
    found = Candidates(found.cells, found.classes, found.scores * sure)
    order = found.scores.argsort(descending=True, stable=True)[:SEEN]
    order = order[found.scores[order] > max(threshold, 0)]
    return found[order], area[row[order]]


def measured(kernels: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Of the mask of each kernel, its pixels and the sum of what they are likely: (N,) each."""
    area, total = kernels.new_zeros(2, len(kernels))
    for part in _portions(pixels, len(kernels)):
        likely = probabilities(kernels, part)
        inside = likely > MASK
        area += inside.sum(dim=1)
        total += (likely * inside).sum(dim=1)
    return area, total


def probabilities(kernels: Tensor, pixels: Tensor) -> Tensor:
    """(N, P): how likely each pixel is in the mask of each kernel."""
    return (kernels @ pixels).sigmoid_()


def suppress(found: Candidates, kernels: Tensor, pixels: Tensor) -> Candidates:
    """Lower scores by matrix NMS: the more, the more a better mask of the class covers it.

    How much counts less where that better mask is itself covered by one that is better still.
    """
    if not len(found.cells):
        return found
    overlap = _overlaps(found.cells, kernels, pixels)
    overlap *= found.classes[:, None] == found.classes[None]
    overlap.triu_(diagonal=1)  # row i is better than column j
    return Candidates(found.cells, found.classes, found.scores * decay(overlap))


def decay(overlap: Tensor) -> Tensor:
    """(N,) factors of scores from (N, N) overlaps with what is better, 0 with all else."""
    covered = overlap.amax(dim=0)
    return torch.exp(-SIGMA * (overlap**2 - covered[:, None] ** 2)).amin(dim=0)


def _overlaps(cells: Tensor, kernels: Tensor, pixels: Tensor) -> Tensor:
    """(N, N) intersection over union of the masks of cells."""
    distinct, row = torch.unique(cells, return_inverse=True)
    common = kernels.new_zeros(len(distinct), len(distinct))
    for part in _portions(pixels, len(distinct)):
        inside = (probabilities(kernels[distinct], part) > MASK).float()
        common += inside @ inside.T
    area = common.diagonal()
    overlap = common / (area[:, None] + area[None] - common).clamp(min=1)
    return overlap[row][:, row]


def _portions(pixels: Tensor, rows: int) -> tuple[Tensor, ...]:
    """Neighbouring pixels of (C, P), so many that a number for each of the rows is not much."""
    return torch.split(pixels, max(64, _NUMBERS_AT_A_TIME // max(rows, 1)), dim=1)


def lines(given: int, within: int, wanted: int) -> Tensor:
    """(wanted, given): along an axis, enlarged four times, cut to the picture, and to its size."""
    return half_pixel(within, wanted, half_pixel(given, 4 * given)[:within])


def _instances(
    found: Candidates,
    kernels: Tensor,
    features: Tensor,
    inner: Size,
    size: Size,
    ids: NDArray[np.int64],
) -> Instances:
    _, height, width = features.shape
    rows, columns = lines(height, inner[0], size[0]), lines(width, inner[1], size[1])
    at_once = max(1, _NUMBERS_AT_A_TIME // (height * width))
    masks = Enlarging(rows, columns, features.device).masks(
        likely
        for some in torch.split(found.cells, at_once)
        for likely in mask_maps(kernels[some], features)
    )
    return instances_of(masks, found.scores.cpu().numpy(), ids[found.classes.cpu().numpy()])


def mask_maps(kernels: Tensor, features: Tensor) -> Tensor:
    """(N, H, W): how likely each place of (C, H, W) features is in the mask of each kernel."""
    return probabilities(kernels, features.flatten(1)).view(-1, *features.shape[1:])
