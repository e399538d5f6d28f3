"""`blob`: exact masks of flat colours, without weights or torch; a `Segmenter` for tests and demos.

Every connected area of one of six pure colours is an instance: red, green, blue, yellow, magenta,
cyan are the classes 1..6. A pixel belongs to a colour by hue, saturation and brightness, with room
for the noise of a lossy codec; everything else is background, so an ordinary picture gives few
instances or none. The same picture always gives the same instances.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.models.blob.labels import LABELS
from pipeline.models.shared.pictures import check_picture
from pipeline.stages import ModelInfo

_HUES = {1: 0, 2: 60, 3: 120, 4: 30, 5: 150, 6: 90}
"""Class id to hue in OpenCV's half degrees."""
_HUE_TOLERANCE = 9
_MIN_SATURATION = 150
_MIN_BRIGHTNESS = 90
_SCORE = 0.99


class BlobSegmenter:
    """Finds flat colours.

    Args:
        min_area: instances of fewer pixels are left out; codec noise makes small specks.
    """

    info = ModelInfo("blob", LABELS, "")

    def __init__(self, min_area: int = 64) -> None:
        self._min_area = min_area
        self._class_of_hue = np.zeros(256, np.uint8)
        for class_id, hue in _HUES.items():
            self._class_of_hue[np.arange(hue - _HUE_TOLERANCE, hue + _HUE_TOLERANCE + 1) % 180] = (
                class_id
            )

    def segment(self, images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """One `Instances` a picture: by class, then by the top left corner of the box.

        Raises:
            SegmentFailed: cause `bad_picture`: one is not uint8 (H, W, 3), or has no pixels.
        """
        return [self._segment(image) for image in images]

    def close(self) -> None:
        """Nothing to release."""

    def _segment(self, image: NDArray[np.uint8]) -> Instances:
        check_picture(image)
        size = image.shape[0], image.shape[1]
        classes = self._classes(image)
        boxes: list[tuple[int, int, int, int]] = []
        class_ids: list[int] = []
        crops: list[tuple[int, int, NDArray[np.bool_]]] = []
        for class_id in np.unique(classes[classes > 0]).tolist():
            found, areas = cv2.connectedComponentsWithStats(
                np.equal(classes, class_id).view(np.uint8), connectivity=8
            )[1:3]
            # sorted, because OpenCV's order of labels may depend on its threads
            for y, x, h, w, area, row in sorted(
                (y, x, h, w, area, row) for row, (x, y, w, h, area) in enumerate(areas.tolist())
            ):
                if row == 0 or area < self._min_area:
                    continue
                boxes.append((x, y, x + w, y + h))
                class_ids.append(class_id)
                crops.append((x, y, np.equal(found[y : y + h, x : x + w], row)))
        return Instances(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.full(len(boxes), _SCORE, np.float32),
            np.array(class_ids, np.int64),
            Masks.from_crops(size, crops),
        )

    def _classes(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) class of every pixel, 0 where it is no pure colour."""
        hue, saturation, brightness = cv2.split(
            cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2HSV)
        )
        pure = (saturation >= _MIN_SATURATION) & (brightness >= _MIN_BRIGHTNESS)
        return self._class_of_hue[hue] * pure
