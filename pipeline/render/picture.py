"""`LazyPicture`: the pixels of a result, drawn on only if a sink asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.render.overlay import annotate
from pipeline.results import FrameResult

Draw = Callable[[NDArray[np.uint8], Instances, Mapping[int, str]], NDArray[np.uint8]]


class LazyPicture:
    """What sinks get beside a result (`pipeline.stages.Picture`); safe to share by threads.

    Args:
        image: the source picture, uint8 (H, W, 3) BGR; made read-only.
        result: what to draw.
        draw: how to draw it.
    """

    def __init__(
        self, image: NDArray[np.uint8], result: FrameResult, draw: Draw = annotate
    ) -> None:
        self._image = image.view()
        self._image.flags.writeable = False
        self._result = result
        self._draw = draw
        self._annotated: NDArray[np.uint8] | None = None
        self._lock = Lock()

    @property
    def image(self) -> NDArray[np.uint8]:
        """The source picture, read-only."""
        return self._image

    def annotated(self) -> NDArray[np.uint8]:
        """The picture with the result drawn on it, read-only; drawn at the first call."""
        with self._lock:
            if self._annotated is None:
                result = self._result
                drawn = self._draw(self._image, result.instances, result.labels)
                drawn.flags.writeable = False
                self._annotated = drawn
            return self._annotated
