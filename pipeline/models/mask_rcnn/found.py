"""`Found`: what a forward says about one picture, before masks are pasted; and its `Instances`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.masks.rectangles import rectangles

OnHost: TypeAlias = Callable[[NDArray[np.float32], NDArray[np.float32], tuple[int, int]], Masks]
"""From probabilities (N, M, M), boxes (N, 4) and the picture's size to masks, threshold 0.5."""


@dataclass(frozen=True)
class Found:
    """N detections of one picture by falling score, as the network gives them."""

    boxes: NDArray[np.float32]
    """(N, 4) xyxy in source pixels; may reach out of the picture by a rounding error."""
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    """(N, M, M) mask probabilities inside the boxes, or what `paste` takes in their place; not
    there where `masks` are."""
    size: tuple[int, int]
    """(height, width) of the picture."""
    masks: Masks | None = None
    """Where a GPU has pasted them."""
    paste: OnHost = Masks.paste
    """How they are pasted where it has not."""
    keypoints: NDArray[np.float32] | None = None
    """(N, K, 3) x, y in source pixels, score; of a network that finds these and no masks: the box
    is the mask."""

    def __getitem__(self, rows: NDArray[np.bool_]) -> Found:
        """Choose detections."""
        return Found(
            self.boxes[rows],
            self.scores[rows],
            self.classes[rows],
            self.probabilities if self.masks is not None else self.probabilities[rows],
            self.size,
            None if self.masks is None else self.masks[rows],
            self.paste,
            None if self.keypoints is None else self.keypoints[rows],
        )

    def instances(self) -> Instances:
        """With masks as runs; what has no pixel at all is left out, nothing could be done with it.

        Boxes are cut to the picture.
        """
        height, width = self.size
        limits = np.array([width, height, width, height], np.float32)
        boxes = np.clip(self.boxes, np.float32(0), limits)
        masks = self.masks
        if self.keypoints is not None:
            masks = rectangles(boxes, self.size)
        if masks is None:
            masks = self.paste(self.probabilities, self.boxes, self.size)
        usable = (masks.areas() > 0) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        found = Instances(boxes, self.scores, self.classes, masks, keypoints=self.keypoints)
        return found if usable.all() else found[usable]
