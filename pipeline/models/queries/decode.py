"""From class logits and coarse masks of queries to instances at the picture's own resolution.

The rules are those the models were published with. transformers' own post-processing of
Mask2Former, MaskFormer and OneFormer is not: it thresholds masks at a fixed or coarse size and
enlarges the pixels, which loses edges, or gives every pixel to one instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Size
from pipeline.instances import Instances
from pipeline.models.shared.raster import instances_of, rasterise

MOST = 100
"""Instances of a picture, as the published figures have it."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a network says of one picture, Q queries and C rows of the class head."""

    classes: Tensor
    """(Q, C) logits."""
    masks: Tensor
    """(Q, h, w) logits."""
    boxes: Tensor | None = None
    """(Q, 4) centre, width and height, as shares of the picture; None: there are none."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryChoice:
    """K queries with one class each, best first; a query may be there with several."""

    queries: Tensor
    rows: Tensor
    """Of the class head."""
    scores: Tensor


def best_pairs(logits: Tensor, *, most: int = MOST) -> QueryChoice:
    """Mask2Former's choice, MaskFormer's and OneFormer's: the best pairs of query and class.

    Args:
        logits: (Q, C + 1), the last column is `no object`.
        most: pairs at most.
    """
    return _pairs(logits.softmax(-1)[:, :-1], most)


def best_of_each(logits: Tensor) -> QueryChoice:
    """EoMT's choice: the best class of each query; (Q, C + 1) logits as above."""
    scores, rows = logits.softmax(-1)[:, :-1].max(-1)
    order = scores.argsort(descending=True, stable=True)
    return QueryChoice(order, rows[order], scores[order])


def best_independent(logits: Tensor) -> QueryChoice:
    """RF-DETR's choice: the best pairs of query and class, as many as queries, no `no object`."""
    return _pairs(logits.sigmoid(), len(logits))


def _pairs(scores: Tensor, most: int) -> QueryChoice:
    count = scores.shape[1]
    best, at = scores.flatten().topk(min(most, scores.numel()))
    return QueryChoice(at // count, at % count, best)


def instances(
    answers: Answers,
    chosen: QueryChoice,
    ids: Mapping[int, int],
    size: Size,
    *,
    threshold: float,
    padded: Size | None,
    kept: Size | None,
    weighed: bool,
) -> Instances:
    """Masks in the picture, of pairs whose class has an id.

    Args:
        answers: of the network.
        chosen: pairs of query and class.
        ids: class id by row of the class head.
        size: (height, width) of the picture.
        threshold: scores above it are kept.
        padded: size of the input, to which masks are enlarged before padding is cut; None: at once.
        kept: rows and columns of it that show the picture.
        weighed: the score is multiplied with the mean probability inside the mask.
    """
    queries, rows, scores = (
        part.cpu().numpy() for part in (chosen.queries, chosen.rows, chosen.scores.float())
    )
    wanted = np.isin(rows, list(ids)) & (scores > threshold)  # a weight only makes them smaller
    queries, rows, scores = queries[wanted], rows[wanted], scores[wanted]
    unique, which = np.unique(queries, return_inverse=True)
    found = rasterise(
        (answers.masks[int(query)] for query in unique), size,
        threshold=0.0, padded=padded, kept=kept, mean_of=torch.sigmoid if weighed else None,
    )  # fmt: skip
    if weighed:
        scores = scores * found.means[which]
    kept_rows = np.flatnonzero(scores > threshold)
    class_ids = np.array([ids[int(row)] for row in rows[kept_rows]], np.int64)
    return instances_of(
        found.masks[which[kept_rows]],
        scores[kept_rows].astype(np.float32),
        class_ids,
        _in_pixels(answers.boxes, queries[kept_rows], size),
    )


def _in_pixels(
    boxes: Tensor | None, queries: NDArray[np.int64], size: Size
) -> NDArray[np.float32] | None:
    if boxes is None:
        return None
    x, y, width, height = boxes.float().cpu().numpy()[queries].T
    corners = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1)
    return np.asarray(corners * np.array([size[1], size[0]] * 2, np.float32), np.float32)
