"""The maker of all pictures of a stream: it says how instances are drawn on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.picture import Labels, Picture
from pipeline.render.overlay import annotate


def make_picture(image: NDArray[np.uint8], instances: Instances, labels: Labels) -> Picture:
    """A `pipeline.picture.MakePicture`: pixels as they came, masks, outlines and tags drawn."""
    return Picture(image, instances, labels, annotate)
