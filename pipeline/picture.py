"""`Picture`: the one way in which pixels leave a stream.

Sinks, functions and the `for` loop of `track` get their pixels here and nowhere else, so what must
not be seen has to be hidden in one place only: where the stream's maker makes the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.instances import Instances

Labels: TypeAlias = Mapping[int, str]
Draw: TypeAlias = Callable[[NDArray[np.uint8], Instances, Labels], NDArray[np.uint8]]
"""Picture (H, W, 3) BGR, instances, names by class id -> the annotated picture, a new array."""


class Picture:
    """The pixels that belong to a result; safe to share by threads, and picklable where `draw` is.

    Args:
        image: uint8 (H, W, 3) BGR; this view of it is read-only.
        instances: what to draw.
        labels: names by class id.
        draw: how to draw it.
    """

    def __init__(
        self, image: NDArray[np.uint8], instances: Instances, labels: Labels, draw: Draw
    ) -> None:
        self._image = image.view()
        self._image.flags.writeable = False
        self._instances = instances
        self._labels = labels
        self._draw = draw
        self._annotated: NDArray[np.uint8] | None = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Picture], tuple[object, ...]]:
        """A copy for another process, with nothing drawn yet."""
        return type(self), (self._image, self._instances, self._labels, self._draw)

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture without a drawing, uint8 (H, W, 3) BGR, read-only."""
        return self._image

    def annotated(self) -> NDArray[np.uint8]:
        """The picture with the instances drawn on it, read-only; drawn once, at the first call."""
        with self._lock:
            if self._annotated is None:
                self._annotated = self.drawn()
                self._annotated.flags.writeable = False
            return self._annotated

    def drawn(self) -> NDArray[np.uint8]:
        """The same drawn anew, for who wants to draw on it further."""
        return self._draw(self._image, self._instances, self._labels)

    def showing(self, instances: Instances, labels: Labels) -> Picture:
        """The same pixels for who is given other instances than the rest; itself for the same."""
        if instances is self._instances and labels is self._labels:
            return self
        return Picture(self._image, instances, labels, self._draw)


MakePicture: TypeAlias = Callable[[NDArray[np.uint8], Instances, Labels], Picture]
"""From a frame's pixels and what is published about it to what all get to see of it."""
