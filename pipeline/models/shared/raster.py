"""From maps of numbers, one an instance, to runs in the picture: no dense masks of all of them.

Families whose masks are not cut out of boxes find one map an instance, coarser than the picture and
often padded. Each is enlarged by torch's own bilinear resize, onto one canvas on its device, and
thresholded by itself, in strips of columns on a CPU: the pixels are those of the dense computation,
and memory is taken for one map of the picture's size, however many instances there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Size
from pipeline.instances import Instances
from pipeline.masks import Masks, runs

COLUMNS_AT_A_TIME = 128
_SLACK = 1e-5
"""More than a weighted mean in float32 can exceed the largest of its numbers, as a share of it."""

Strip: TypeAlias = tuple[int, int, Tensor]
"""Where its first pixel lies (x, y), and which of its pixels (h, w) are in the mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """N masks of one picture, some may be empty."""

    masks: Masks
    means: NDArray[np.float32]
    """(N,) mean over the pixels of each mask of what `rasterise` was asked for; 0 where empty."""


def rasterise(
    maps: Iterable[Tensor],
    size: Size,
    *,
    threshold: float,
    padded: Size | None = None,
    kept: Size | None = None,
    mean_of: Callable[[Tensor], Tensor] | None = None,
) -> Raster:
    """Enlarge maps to the picture, one after another, and keep the pixels above a threshold.

    Args:
        maps: (h, w) of floats each, probabilities or logits; a tensor (N, h, w), or a generator
            that makes one when it is asked for.
        size: (height, width) of the picture.
        threshold: pixels strictly above it are in the mask.
        padded: (height, width) the maps are enlarged to before they are cut; None: to none.
        kept: rows and columns of that, or of the maps, that show the picture; None: all.
        mean_of: made of the values of the mask's pixels, (P,) to (P,), for `Raster.means`;
            None: means are 0.
    """
    means: list[float] = []

    def each() -> Iterator[Iterator[Strip]]:
        canvas: Tensor | None = None
        for map_ in maps:
            small = _shown(map_.float(), padded, kept)
            canvas = small.new_empty((1, 1, *size)) if canvas is None else canvas
            yield _strips(small, canvas, threshold, mean_of, means)
            del map_, small  # before the next is made

    return Raster(masks_of_strips(each(), size), np.array(means, np.float32))


def masks_of_strips(masks: Iterable[Iterable[Strip]], size: Size) -> Masks:
    """Masks that come as strips side by side, from left to right, wherever their device is.

    Each strip is let go of before the next one is asked for.
    """

    def counts(strips: Iterable[Strip]) -> NDArray[np.uint32]:
        toggles = [_edges(above, left, top, size[0]) for left, top, above in strips]
        at = np.concatenate([np.zeros(0, np.int64), *toggles])
        return runs.counts_of(runs.cancel_pairs(at), size[0] * size[1])

    return Masks.concatenate_counts(size, map(counts, masks))


def instances_of(
    masks: Masks,
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int64],
    boxes: NDArray[np.float32] | None = None,
) -> Instances:
    """Instances with boxes around their masks, best first; those without a pixel are left out.

    Args:
        masks: N of one picture.
        scores: (N,) in [0, 1].
        class_ids: (N,) category ids.
        boxes: (N, 4) xyxy in pixels of the picture, clipped here; None: tight around the masks.
    """
    tight = masks.boxes().astype(np.float32)
    if boxes is None:
        boxes = tight
    else:
        height, width = masks.size
        boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32)).astype(np.float32)
    there = (masks.areas() > 0) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    rows = np.flatnonzero(there)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    return Instances(boxes[rows], scores[rows], class_ids[rows], masks[rows])


def _shown(map_: Tensor, padded: Size | None, kept: Size | None) -> Tensor:
    if padded is not None:
        map_ = _enlarge(map_, map_.new_empty((1, 1, *padded)))
    return map_ if kept is None else map_[: kept[0], : kept[1]].contiguous()


def _enlarge(map_: Tensor, canvas: Tensor) -> Tensor:
    """Fill a canvas (1, 1, height, width) from (h, w), as `interpolate` would; its one picture."""
    size = list(canvas.shape[2:])
    torch.ops.aten.upsample_bilinear2d.out(map_[None, None], size, False, out=canvas)
    return canvas[0, 0]


def _strips(
    small: Tensor,
    canvas: Tensor,
    threshold: float,
    mean_of: Callable[[Tensor], Tensor] | None,
    means: list[float],
) -> Iterator[Strip]:
    """One mask; the mean over its pixels is put behind the others."""
    height, width = canvas.shape[2:]
    window = _window(small, (height, width), threshold)
    if window is None:
        means.append(0.0)
        return
    top, bottom, left, right = window
    values = _enlarge(small, canvas)
    step = right - left if values.is_cuda else COLUMNS_AT_A_TIME
    total, pixels = 0.0, 0
    for first in range(left, right, step):
        strip = values[top:bottom, first : min(first + step, right)]
        above = strip > threshold
        yield first, top, above
        if mean_of is not None:
            inside = strip[above]
            total += float(mean_of(inside).sum())
            pixels += len(inside)
    means.append(total / max(pixels, 1))


def _edges(above: Tensor, left: int, top: int, height: int) -> NDArray[np.int64]:
    """Where a mask begins and ends in each column, from (h, w) booleans at (left, top)."""
    rows = len(above)
    edges = torch.zeros((rows + 1, above.shape[1]), dtype=torch.bool, device=above.device)
    edges[:rows] = above
    edges[1:] ^= above
    row, column = edges.nonzero(as_tuple=True)
    toggles = ((column + left) * height + row + top).sort().values
    return np.asarray(toggles.cpu().numpy(), np.int64)


def _window(small: Tensor, size: Size, threshold: float) -> tuple[int, int, int, int] | None:
    """Rows and columns of the picture beyond which no pixel is above the threshold; None: none is.

    A pixel is a weighted mean of the four numbers around it.
    """
    floor = threshold - _SLACK * max(1.0, abs(threshold))
    maybe = small > floor
    rows = maybe.any(1).nonzero()[:, 0]
    if not len(rows):
        return None
    columns = maybe.any(0).nonzero()[:, 0]
    top, bottom = _reach(int(rows[0]), int(rows[-1]), small.shape[0], size[0])
    left, right = _reach(int(columns[0]), int(columns[-1]), small.shape[1], size[1])
    return top, bottom, left, right


def _reach(first: int, last: int, lines: int, enlarged: int) -> tuple[int, int]:
    """Lines of the enlarged map from those before line `first` to those after line `last`."""
    scale = enlarged / lines
    low = math.floor((first - 0.5) * scale - 0.5) - 1
    high = math.ceil((last + 1.5) * scale - 0.5) + 2
    return max(low, 0), min(high, enlarged)
