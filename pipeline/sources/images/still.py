"""`Still`: one picture of a picture file, or why it cannot be had."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNTIMED_S = 0.1
"""What players make of a picture of a film that says it is shown for no time."""


class Still(NamedTuple):
    """One picture, or why it cannot be had."""

    image: NDArray[np.uint8] | None
    """uint8 (H, W, 3) BGR, upright, C-contiguous."""
    reason: str = ""
    """In a few words, where there is no image."""
    shown_s: float | None = None
    """How long it is shown; None where the format knows no time."""


def too_large(width: int, height: int) -> Still:
    """A picture that claims more than is allowed."""
    return Still(None, f"has {width}x{height} pixels, more than max_pixels")


def cut_film(there: int, announced: int) -> Still:
    """What is missing at the end of a film."""
    return Still(None, f"ends after {there} of {announced} pictures", 0.0)
