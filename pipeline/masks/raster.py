"""Masks as a small picture: where they are, seen from further away; never dense at full size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Size
from pipeline.masks.spans import Spans

if TYPE_CHECKING:
    from pipeline.masks.masks import Masks


def covered(masks: Masks, size: Size) -> NDArray[np.bool_]:
    """Where any mask is, (height, width) of `size`, which may be smaller than the picture.

    A pixel of the small picture is covered where a mask has any pixel of what it stands for, in
    the columns its mask begins and ends in.
    """
    height, width = size
    full_height, full_width = masks.size
    spans = Spans.of(masks)
    columns, last = spans.starts // full_height, (spans.ends - 1) // full_height
    top, bottom = spans.starts - columns * full_height, spans.ends - last * full_height
    # Each span opens at its first pixel and closes behind its last one; a running sum down the
    # columns then counts the masks over every pixel. A span over several columns also opens at
    # the head of those behind its first, and closes at the foot of those before its last.
    delta = np.zeros((width, height + 1), np.int32)
    x = columns * width // full_width
    np.add.at(delta, (x, top * height // full_height), 1)
    closing = np.where(last > columns, height, -(-bottom * height // full_height))
    np.add.at(delta, (x, closing), -1)
    for row in np.flatnonzero(last > columns).tolist():
        for column in range(int(columns[row]) + 1, int(last[row]) + 1):
            end = height if column < last[row] else -(-int(bottom[row]) * height // full_height)
            delta[column * width // full_width, 0] += 1
            delta[column * width // full_width, end] -= 1
    return np.asarray((np.cumsum(delta, axis=1)[:, :height] > 0).T)
