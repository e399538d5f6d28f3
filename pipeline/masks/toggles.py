"""From the toggles a GPU wrote to `Masks`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.masks import Masks, runs


def masks_of(toggles: NDArray[Any], counts: NDArray[Any], size: tuple[int, int]) -> Masks:
    """Masks of one picture.

    Args:
        toggles: column-major pixel positions, mask after mask, each sorted; more may follow.
        counts: (N,) how many belong to each mask.
        size: (height, width).
    """
    n = len(counts)
    origin = np.repeat(np.arange(n, dtype=np.int64) * runs.stride(size), counts)
    positions = toggles[: len(origin)].astype(np.int64) + origin
    return Masks(size, *runs.from_toggles(runs.cancel_pairs(positions), n, size))
