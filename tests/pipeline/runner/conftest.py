"""Folders of pictures as sources: lossless, quick to make, exact for the blob model."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def make_pictures(tmp_path: Path) -> Callable[..., Path]:
    """A folder of pictures, in each a red square of 20 × 20 that moves by one pixel."""

    def make(name: str, count: int) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for index in range(count):
            image = np.full((48, 64, 3), 40, np.uint8)
            image[10:30, 5 + index % 30 : 25 + index % 30] = (0, 0, 255)
            cv2.imwrite(str(folder / f"{index:03d}.png"), image)
        return folder

    return make
