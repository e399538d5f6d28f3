"""A call of a model that never does worse than fail for the frames it was given.

Models come from anywhere; what one raises or answers must cost its frames and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SegmentFailed, in_one_line
from pipeline.instances import Instances

log = logging.getLogger(__name__)

BUG = "model_error"
"""Cause of frames on which the model did what no model should."""


def attempt(call: Callable[[], object], images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
    """What `call` found in `images`, one `Instances` a picture.

    Raises:
        SegmentFailed: the call said so; or it raised anything else, or answered with something
            that is not the instances of these pictures: then the cause is `BUG`.
    """
    try:
        return _checked(call(), images)
    except SegmentFailed:
        raise
    except BaseException as error:
        if len(images) == 1:  # what failed in company is tried again
            log.exception("the model failed on a frame")
        raise SegmentFailed(BUG, in_one_line(error)) from error


def _checked(answer: Any, images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
    if not isinstance(answer, Sequence):
        raise TypeError(f"segment() must return a list of Instances, got {_kind(answer)}")
    if len(answer) != len(images):
        raise ValueError(
            f"segment() must return one Instances a picture, got {len(answer)} for {len(images)}"
        )
    for found, image in zip(answer, images, strict=True):
        if not isinstance(found, Instances):
            raise TypeError(f"segment() must return Instances, got {_kind(found)} among them")
        if found.masks.size != image.shape[:2]:
            raise ValueError(
                f"masks must have the size of their picture {image.shape[:2]}, "
                f"got {found.masks.size}"
            )
        for name in ("scores", "boxes"):
            if not np.isfinite(getattr(found, name)).all():
                raise ValueError(f"{name} must be finite, got {getattr(found, name).tolist()}")
    return list(answer)


def _kind(value: object) -> str:
    return type(value).__name__
