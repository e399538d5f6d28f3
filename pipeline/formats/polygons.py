"""Outlines and boxes of other tools as records have them; filled as pycocotools fills them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def rle_of_segmentation(segmentation: Any, size: tuple[int, int]) -> dict[str, Any] | None:
    """COCO's `segmentation`, outlines or runs in either form, as runs; None for an empty one.

    Raises:
        ValueError: an outline has too few corners, or a corner that is no number.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, Mapping):
        return dict(segmentation)
    return filled(segmentation, size)


def corners(bbox: Sequence[float] | None) -> list[float] | None:
    """COCO's `bbox` (x, y, width, height) as (x1, y1, x2, y2), hundredths; None for none."""
    if bbox is None:
        return None
    x, y, width, height = map(float, bbox)
    return [x, y, round(x + width, 2), round(y + height, 2)]


def filled(outlines: Sequence[Sequence[float]], size: tuple[int, int]) -> dict[str, Any]:
    """The pixels within any of the outlines, `x, y, x, y, ...` each, of a picture (height, width).

    Raises:
        ValueError: an outline has too few corners, or a corner that is no number or far outside.
    """
    from pycocotools import mask as coco_mask

    height, width = size
    parts = [[float(value) for value in outline] for outline in outlines]
    for part in parts:
        if len(part) < 6 or len(part) % 2:
            raise ValueError(f"an outline of {len(part)} numbers; it takes three corners at least")
        if not all(abs(value) <= 4 * max(size) for value in part):  # also refuses nan
            raise ValueError("an outline has a corner far outside of the picture")
    runs = coco_mask.merge(coco_mask.frPyObjects(parts, height, width))
    return {"size": [height, width], "counts": runs["counts"].decode("ascii")}
