"""What goes wrong on a device, as the one error a segmenter may raise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import torch

from pipeline.arrays import Image
from pipeline.errors import SegmentFailed
from pipeline.models.shared.memory import first_line, is_out_of_memory, shortage

OUT_OF_MEMORY = "out_of_memory"
T = TypeVar("T")


def guarded(call: Callable[[], T], images: Sequence[Image], device: torch.device) -> T:
    """Call what segments some pictures.

    Raises:
        SegmentFailed: cause `out_of_memory`, with what would help, or `model_error`.
    """
    try:
        return call()
    except (RuntimeError, MemoryError, cv2.error) as error:
        if not is_out_of_memory(error):
            raise SegmentFailed("model_error", first_line(error)) from error
        size = (images[0].shape[0], images[0].shape[1])
        raise SegmentFailed(OUT_OF_MEMORY, shortage(error, len(images), size, device)) from error
