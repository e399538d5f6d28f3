"""A model of your own: any function `image -> boxes, scores, class ids, masks`.

    maskstream track street.mp4 --model own_model:make

`docs/models.md` says what is promised to it.
"""

import numpy as np

from maskstream import FunctionSegmenter


def bright_things(image):
    """Yours: boxes (N, 4) xyxy, scores (N,), class ids (N,), masks (N, H, W) of booleans."""
    mask = image.min(axis=2) > 200
    if not mask.any():
        return [], [], [], []
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return [box], [0.9], [1], [mask]


def make():
    """Called once in every worker: load what it needs here; may ask for `device` and others."""
    return FunctionSegmenter(bright_things, {1: "bright thing"}, name="bright-things")
