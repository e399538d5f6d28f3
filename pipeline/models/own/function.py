"""`FunctionSegmenter`: any function `image -> boxes, scores, class ids, masks` as a `Segmenter`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pipeline.arrays import Image
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.stages import ModelInfo


class FunctionSegmenter:
    """Calls a function for one picture after another.

    Args:
        function: given a picture, uint8 (H, W, 3) BGR, it returns boxes (N, 4) xyxy in pixels,
            right and bottom edge exclusive; scores (N,) in [0, 1]; class ids (N,) from 1; and
            masks, as booleans (N, H, W) or as `Masks`. Lists will do.
        labels: names by class id.
        name: as records give it; None: the function's.
        sha256: of the weights, if there are any: records of others are then told from these.
    """

    def __init__(
        self,
        function: Callable[[Image], tuple[ArrayLike, ArrayLike, ArrayLike, Any]],
        labels: Mapping[int, str],
        *,
        name: str | None = None,
        sha256: str = "",
    ) -> None:
        self._function = function
        self.info = ModelInfo(
            name or str(getattr(function, "__name__", "own")), dict(labels), sha256
        )

    def segment(self, images: Sequence[Image]) -> list[Instances]:
        """See `maskstream.Segmenter`; whatever the function raises, this does.

        Raises:
            ValueError: what it returned fits neither together nor the picture.
        """
        return [self._one(image) for image in images]

    def close(self) -> None:
        """Nothing is held here."""

    def _one(self, image: Image) -> Instances:
        found = self._function(image)
        if not isinstance(found, tuple | list) or len(found) != 4:
            raise ValueError(
                "the function must return boxes, scores, class ids and masks, got "
                f"{type(found).__name__}"
                + (f" of {len(found)}" if isinstance(found, tuple | list) else "")
            )
        boxes, scores, class_ids, masks = found
        size = image.shape[:2]
        if not isinstance(masks, Masks):
            dense = np.asarray(masks, bool)
            masks = Masks.from_dense(dense.reshape(-1, *(dense.shape[1:] or size)))
        return Instances(
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(scores, np.float32),
            np.asarray(class_ids, np.int64),
            masks,
        )
