"""Short names for arrays by what they hold; shapes are said where they are used."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Singles: TypeAlias = NDArray[np.float32]
Image: TypeAlias = NDArray[np.uint8]
"""(height, width, 3) BGR."""
Size: TypeAlias = tuple[int, int]
"""(height, width)."""
