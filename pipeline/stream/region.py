"""Where in the picture to look: polygons to segment inside of, and polygons to leave out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.masks import Masks

Polygon = Sequence[tuple[float, float]]


class PolygonRegion:
    """Polygons in source pixels, filled like those of OpenCV: their outline belongs to them.

    Args:
        include: only inside of one of these is segmented; empty: everywhere.
        ignore: instances that lie with more than half of their mask inside are not published.
    """

    def __init__(self, include: Sequence[Polygon], ignore: Sequence[Polygon]) -> None:
        self._include = [_points(polygon) for polygon in include]
        self._ignore = [_points(polygon) for polygon in ignore]
        self._size: tuple[int, int] | None = None
        self._inside: NDArray[np.uint8] | None = None
        self._ignored: Masks | None = None

    def look(self, frame: Frame) -> Frame:
        """The frame with everything outside of `include` black."""
        self._fit(frame.size)
        if self._inside is None:
            return frame
        blanked = cv2.bitwise_and(frame.image, frame.image, mask=self._inside)
        return replace(frame, image=np.asarray(blanked, np.uint8))

    def keep(self, instances: Instances) -> Instances:
        """The instances that do not lie in `ignore`."""
        self._fit(instances.masks.size)
        if self._ignored is None or not len(instances):
            return instances
        covered = instances.masks.intersections(self._ignored)[:, 0]
        return instances[2 * covered <= instances.masks.areas()]

    def _fit(self, size: tuple[int, int]) -> None:
        """Draw the polygons for pictures of this size; they rarely change it."""
        if size == self._size:
            return
        self._size = size
        self._inside = _filled(self._include, size) if self._include else None
        if self._ignore:
            self._ignored = Masks.from_dense(_filled(self._ignore, size)[None] > 0)


def _points(polygon: Polygon) -> NDArray[np.int32]:
    return np.round(np.asarray(polygon, np.float64)).astype(np.int32)


def _filled(polygons: Sequence[NDArray[np.int32]], size: tuple[int, int]) -> NDArray[np.uint8]:
    canvas = np.zeros(size, np.uint8)
    for points in polygons:  # one at a time: filled together, overlapping ones would cancel out
        cv2.fillPoly(canvas, [points], 255)
    return canvas
