"""What frameworks understand differently in the same layers, and no file of weights says.

The engine computes one network; a dialect says how pictures come in, where anchors stand, what is
kept, how regions are pooled and masks pasted. torchvision's is here; others beside the reader of
their files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from pipeline.masks import Masks
from pipeline.models.mask_rcnn.engine.operators.kernels import Kernels, kernels_for
from pipeline.models.mask_rcnn.engine.operators.preprocess import InputRules
from pipeline.models.mask_rcnn.engine.operators.roi_align import LEAST_AREAS
from pipeline.models.mask_rcnn.found import OnHost
from pipeline.models.shared.labels import COCO_CLASSES


@dataclass(frozen=True)
class Dialect:
    """A framework's rules."""

    name: str
    input_rules: Callable[[GeneralizedRCNN], Any]
    """Resize and normalisation of a network, for `Kernels.prepare`."""
    kernels: Callable[[torch.device], Kernels]
    paste: OnHost
    strides: tuple[int, ...] | None
    """Of the anchors of each level; None: padded size // cells."""
    smallest_proposal: float
    """Least width and height, as the next one is."""
    smallest_detection: float
    least_areas: tuple[float, float, float]
    """Of regions pooled from p3, p4 and p5."""
    coco_rows: int
    """Of a class head of COCO's classes, background included."""


TORCHVISION = Dialect(
    "torchvision",
    InputRules.of,
    kernels_for,
    Masks.paste,
    strides=None,
    smallest_proposal=1e-3,
    smallest_detection=1e-2,
    least_areas=LEAST_AREAS,
    coco_rows=COCO_CLASSES,
)
