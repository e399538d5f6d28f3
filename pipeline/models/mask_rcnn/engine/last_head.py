"""What says more about each detection, once the detections are chosen: a mask, or keypoints.

It runs on the device for all pictures of a batch together; what it says comes to the host with the
boxes and becomes a `Found` there, picture by picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Size
from pipeline.models.mask_rcnn.engine.operators.roi_align import Layout
from pipeline.models.mask_rcnn.found import Found, OnHost


@dataclass(frozen=True)
class Regions:
    """Where N detections are in the features of a batch."""

    table: Tensor
    """Feature vectors, see `operators.roi_align`."""
    layout: Layout
    boxes: Tensor
    """(N, 4) float32 in the resized pictures."""
    pictures: Tensor
    """(N,) int64, which picture of the batch."""
    roi_align: Callable[..., Tensor]

    def some(self, rows: slice) -> Regions:
        """Choose detections."""
        return replace(self, boxes=self.boxes[rows], pictures=self.pictures[rows])

    def pool(self, size: int) -> Tensor:
        """(N, size, size, C)."""
        return self.roi_align(self.table, self.layout, self.boxes, self.pictures, size)


class LastHead(Protocol):
    """The last stage of a network."""

    pastes: bool
    """Whether it gives mask logits, which a device can make runs of."""

    def nothing(self, device: torch.device) -> Sequence[Tensor]:
        """What is said of no detections."""

    def say(self, regions: Regions, classes: Tensor, scale: Tensor) -> Sequence[Tensor]:
        """On the device, in shapes that depend on no value.

        Args:
            regions: N detections.
            classes: (N,) int64, rows of the class head.
            scale: (N, 4) source pixels per pixel of the resized picture, x, y, x, y.
        """

    def found(
        self,
        boxes: NDArray[Any],
        scores: NDArray[Any],
        classes: NDArray[Any],
        said: Sequence[NDArray[Any]],
        size: Size,
        paste: OnHost,
    ) -> Found:
        """What was said of the detections of one picture, on the host.

        Args:
            boxes: (N, 4) float32 in source pixels.
            scores: (N,) float32.
            classes: (N,) int64.
            said: by `say`, their rows.
            size: (height, width) of the source picture.
            paste: how masks are pasted there.
        """
