"""detectron2's rules, see `engine.dialect`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Size
from pipeline.masks import Masks
from pipeline.models.mask_rcnn.detectron2.preprocess import ShortestEdge, prepare
from pipeline.models.mask_rcnn.detectron2.roi_align import LEAST_AREAS, by_level, gathered
from pipeline.models.mask_rcnn.engine.dialect import Dialect
from pipeline.models.mask_rcnn.engine.operators.kernels import Kernels, kernels_for
from pipeline.models.shared.detectron2 import COCO_ROWS


def kernels(device: torch.device) -> Kernels:
    """The forms of its operations for a device; masks are pasted on the host."""
    nms = kernels_for(device).nms
    return Kernels(prepare, nms, gathered if device.type == "cpu" else by_level)


def paste(probabilities: NDArray[np.float32], boxes: NDArray[np.float32], size: Size) -> Masks:
    """Into boxes cut to the picture; one that has no area there has an empty mask."""
    height, width = size
    boxes = np.clip(boxes, np.float32(0), np.array([width, height, width, height], np.float32))
    lost = np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
    if len(lost):
        probabilities = probabilities.copy()
        probabilities[lost], boxes[lost] = 0, (0, 0, 1, 1)
    return Masks.sample(probabilities, boxes, size)


DETECTRON2 = Dialect(
    "detectron2",
    ShortestEdge.of,
    kernels,
    paste,
    strides=(4, 8, 16, 32, 64),
    smallest_proposal=float(torch.finfo(torch.float32).smallest_normal),
    smallest_detection=0.0,
    least_areas=LEAST_AREAS,
    coco_rows=COCO_ROWS,
)
