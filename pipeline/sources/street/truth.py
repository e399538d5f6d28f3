"""From a map of who owns each pixel to exact `Instances`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.masks import Masks

MIN_VISIBLE = 0.25
"""Share of its silhouette that must show before an object counts as visible."""
MIN_PIXELS = 100.0
"""Pixels that must show at a picture height of 384."""

Claim = tuple[int, int, int, float, tuple[int, int, int, int]]
"""Owner number, class id, track id, pixels of the whole silhouette, window (x0, y0, x1, y1)."""


def visible_instances(
    owner: NDArray[np.uint16], claims: Sequence[Claim], *, scale: float
) -> Instances:
    """Instances of the claims that show enough pixels in `owner` (H, W)."""
    boxes, class_ids, track_ids, runs = [], [], [], []
    for number, class_id, track_id, area, (x0, y0, x1, y1) in claims:
        mask = owner[y0:y1, x0:x1] == number
        shown = int(np.count_nonzero(mask))
        if shown < max(MIN_VISIBLE * area, MIN_PIXELS * scale * scale):
            continue
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        boxes.append([x0 + columns[0], y0 + rows[0], x0 + columns[-1] + 1, y0 + rows[-1] + 1])
        class_ids.append(class_id)
        track_ids.append(track_id)
        runs.append(crop_runs(mask, (x0, y0), owner.shape))
    size = (owner.shape[0], owner.shape[1])
    return Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.ones(len(boxes), np.float32),
        np.array(class_ids, np.int64),
        Masks.concatenate_counts(size, runs),
        track_ids=np.array(track_ids, np.int64),
    )


def crop_runs(
    mask: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, ...]
) -> NDArray[np.uint32]:
    """COCO counts, in a picture of `size` (H, W), of a mask whose crop is at `corner` (x, y)."""
    height, width = size[0], size[1]
    x, y = corner
    padded = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
    padded[:, 1:-1] = mask.T
    column, row = np.nonzero(np.diff(padded, axis=1))
    edges = (column + x) * height + row + y  # starts and ends in turn, column by column
    joined = np.flatnonzero(edges[1:-1:2] == edges[2::2])  # runs that go on in the next column
    edges = np.delete(edges, np.concatenate([2 * joined + 1, 2 * joined + 2]))
    counts = np.diff(np.concatenate([[0], edges, [height * width]]))
    if counts[-1] == 0:
        counts = counts[:-1]
    return counts.astype(np.uint32)
