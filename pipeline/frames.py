"""`Frame`: one decoded picture on its way from a source to the segmenter."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture; its pixels are never written to after construction.

    Raises:
        ValueError: `image` is not uint8 of shape (height, width, 3).
    """

    source_id: str
    epoch: int
    """Counts reopenings, breaks of the time line and changes of picture size, from 0."""
    index: int
    """Position in the source as the decoder outputs frames, from 0, over all epochs."""
    pts_s: float
    """Presentation time in seconds on the source's own clock, increasing within an epoch."""
    image: NDArray[np.uint8]
    """(height, width, 3), BGR, display-rotated, read-only."""
    captured_at_s: float | None = None
    """Unix time of capture; None for files."""
    clock: Literal["sender", "arrival"] | None = None
    """Whose clock `captured_at_s` comes from; None for files."""
    file: str | None = None
    """Name of the picture file this is from, within its folder or glob; None for anything else."""
    decode_s: float = 0.0
    """Seconds its decoding took, of live sources; others take as long as they are waited for."""

    def __post_init__(self) -> None:
        image = self.image
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"Frame.image must be uint8 of shape (height, width, 3), got {image.dtype} "
                f"of shape {image.shape} from {self.source_id!r}"
            )
        image.flags.writeable = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.image.shape[0], self.image.shape[1]
