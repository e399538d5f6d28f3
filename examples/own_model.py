"""A model of your own: any function `image -> boxes, scores, labels, masks`.

    maskstream track street.mp4 --model own_model:make

`docs/models.md` says what is promised to it.
"""

import numpy as np

from maskstream import Instances, Masks, ModelInfo

LABELS = {1: "bright thing"}


def predict(image):
    """Yours: boxes (N, 4) xyxy, scores (N,), class ids (N,), masks (N, H, W) of booleans."""
    mask = image.min(axis=2) > 200
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), np.zeros((0, *mask.shape), bool)
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return np.array([box]), np.array([0.9]), np.array([1]), mask[None]


class OwnSegmenter:
    """What `maskstream.Segmenter` asks for."""

    info = ModelInfo("bright-things", LABELS, sha256="")

    def segment(self, images):
        """One `Instances` for each uint8 (H, W, 3) BGR picture."""
        return [self._one(image) for image in images]

    def _one(self, image):
        boxes, scores, labels, masks = predict(image)
        return Instances(
            np.asarray(boxes, np.float32),
            np.asarray(scores, np.float32),
            np.asarray(labels, np.int64),
            Masks.from_dense(masks),
        )

    def close(self):
        """Release what it holds."""


def make(device="auto", score_threshold=0.1):
    """Called once in every worker; asks for the options it wants by their names."""
    return OwnSegmenter()
