"""Where in the picture to look: polygons to segment inside of, and polygons to leave out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.masks import Masks

log = logging.getLogger(__name__)

_Corners = Sequence[tuple[float, float]]


class PolygonRegion:
    """Polygons in source pixels, filled like those of OpenCV: their outline belongs to them.

    What a segmenter finds it may still place in the black around `include`, and a tracker may carry
    it there: so instances are judged by their masks, before the tracker sees them and after.

    Args:
        include: only inside of these is segmented, and only instances with at least half of their
            mask inside of them (all together) count; empty: everywhere.
        ignore: instances that lie with more than half of their mask inside are not published.
    """

    def __init__(self, include: Sequence[_Corners], ignore: Sequence[_Corners]) -> None:
        self._include = [_points(polygon) for polygon in include]
        self._ignore = [_points(polygon) for polygon in ignore]
        self._size: tuple[int, int] | None = None
        self._told: set[str] = set()
        self._inside: NDArray[np.uint8] | None = None
        self._included: Masks | None = None
        self._ignored: Masks | None = None

    def look(self, frame: Frame) -> Frame:
        """The frame with everything outside of `include` black."""
        self._fit(frame.size)
        if self._inside is None:
            return frame
        blanked = cv2.bitwise_and(frame.image, frame.image, mask=self._inside)
        return replace(frame, image=np.asarray(blanked, np.uint8))

    def inside(self, instances: Instances) -> Instances:
        """The instances that lie in `include`."""
        self._fit(instances.masks.size)
        if self._included is None or not len(instances):
            return instances
        covered = instances.masks.intersections(self._included)[:, 0]
        return instances[(covered > 0) & (2 * covered >= instances.masks.areas())]

    def keep(self, instances: Instances) -> Instances:
        """The instances that lie in `include` and not in `ignore`."""
        instances = self.inside(instances)
        if self._ignored is None or not len(instances):
            return instances
        covered = instances.masks.intersections(self._ignored)[:, 0]
        return instances[2 * covered <= instances.masks.areas()]

    def _fit(self, size: tuple[int, int]) -> None:
        """Draw the polygons for pictures of this size; they rarely change it."""
        if size == self._size:
            return
        self._size = size
        if self._include:
            self._inside = _filled(self._include, size)
            self._included = Masks.from_dense(self._inside[None] > 0)
            self._tell("include", self._include, self._inside)
        if self._ignore:
            left_out = _filled(self._ignore, size)
            self._ignored = Masks.from_dense(left_out[None] > 0)
            self._tell("ignore", self._ignore, left_out)

    def _tell(
        self, name: str, polygons: Sequence[NDArray[np.int32]], drawn: NDArray[np.uint8]
    ) -> None:
        """Say once what polygons do that nobody wants of them."""
        height, width = drawn.shape
        of = f"pictures of {width}x{height}"
        pixels = "; its coordinates are pixels of the source"
        nothing = name == ("ignore" if drawn.all() else "include")
        ends = "nothing will be found" if nothing else "it changes nothing"
        if drawn.all():
            self._warn(name, f"{name} covers all of {of}: {ends}")
        elif not drawn.any():
            self._warn(name, f"{name} lies outside of {of}: {ends}{pixels}")
        else:
            for number, polygon in enumerate(polygons, start=1):
                if not _filled([polygon], drawn.shape).any():
                    one = f"polygon {number} of {name}"
                    self._warn(one, f"{one} lies outside of {of}: it changes nothing{pixels}")

    def _warn(self, what: str, text: str) -> None:
        if what not in self._told:
            self._told.add(what)
            log.warning("%s", text)


def _points(polygon: _Corners) -> NDArray[np.int32]:
    return np.round(np.asarray(polygon, np.float64)).astype(np.int32)


def _filled(polygons: Sequence[NDArray[np.int32]], size: tuple[int, int]) -> NDArray[np.uint8]:
    canvas = np.zeros(size, np.uint8)
    for points in polygons:  # one at a time: filled together, overlapping ones would cancel out
        cv2.fillPoly(canvas, [points], 255)
    return canvas
