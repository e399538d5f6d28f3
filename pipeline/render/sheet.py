"""Many pictures on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.render.labels import FONT

PAPER = (24, 22, 20)
INK = (225, 225, 225)


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8]],
    columns: int,
    *,
    width: int = 1920,
    captions: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """Put pictures in rows from left to right, scaled to equal cells of the first one's shape.

    Args:
        pictures: uint8 (H, W, 3) BGR, at least one; others are fitted into the cell.
        columns: how many stand in a row.
        width: of the sheet, in pixels.
        captions: written under the pictures, as far as given.

    Returns:
        uint8 (height, width, 3) BGR.

    Raises:
        ValueError: no pictures, no columns, or more columns than the width has room for.
    """
    if not pictures or columns < 1:
        raise ValueError("a contact sheet needs at least one picture and one column")
    columns = min(columns, len(pictures))
    gap = max(2, width // 160)
    cell_width = (width - gap * (columns + 1)) // columns
    if cell_width < 8:
        raise ValueError(f"{columns} columns do not fit into {width} pixels")
    first = pictures[0]
    cell_height = max(1, round(cell_width * first.shape[0] / first.shape[1]))
    text = max(8, width // 130) if captions else 0
    row_height = cell_height + gap + 2 * text
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * row_height + gap, width, 3), PAPER, np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        x, y = gap + column * (cell_width + gap), gap + row * row_height
        small = _fitted(picture, cell_height, cell_width)
        top, left = (cell_height - small.shape[0]) // 2, (cell_width - small.shape[1]) // 2
        sheet[y + top : y + top + small.shape[0], x + left : x + left + small.shape[1]] = small
        if number < len(captions):
            scale = cv2.getFontScaleFromHeight(FONT, text, 1)
            at = (x, y + cell_height + text + text // 2)
            cv2.putText(sheet, captions[number], at, FONT, scale, INK, 1, cv2.LINE_AA)
    return sheet


def _fitted(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    scale = min(height / picture.shape[0], width / picture.shape[1])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
