"""Logits to probabilities, by numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities; the same bits for the same number wherever it stands in the array.

    torch's own has other last digits in the rest that does not fill a vector register, so that
    they would depend on the number of threads.
    """
    exponent: NDArray[np.float32] = np.exp(np.clip(-logits, -80, 80))
    return np.float32(1) / (np.float32(1) + exponent)
