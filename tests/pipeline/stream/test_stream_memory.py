"""Frames are freed when they are done with, not when cycles are collected."""

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.frames import Frame
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Position
from pipeline.testing import ListSink, ScriptedSource, make_frame


class Fresh(ScriptedSource):
    """Makes its frames as they are asked for, keeps none, and knows which are still there."""

    given: list["weakref.ref[NDArray[np.uint8]]"]

    def frames(self, start: Position | None = None) -> Iterator[Frame]:
        self.given = []
        for index in range(20):
            frame = make_frame(index)
            self.given.append(weakref.ref(frame.image))
            yield frame


class Watching(ListSink):
    """Notes at every result how many of the frames before it are still there."""

    def __init__(self, source: Fresh) -> None:
        super().__init__()
        self.held: list[int] = []
        self._source = source

    def write(self, result: FrameResult, picture: Picture) -> None:
        before = self._source.given[: result.index]
        self.held.append(sum(image() is not None for image in before))


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_nobody_holds_a_frame_that_was_published(make_stream: Callable[..., Any]) -> None:
    source = Fresh([])
    watching = Watching(source)

    make_stream(source, [watching]).run()

    assert len(watching.held) == 20
    assert max(watching.held) <= 1  # the loop has the one before still in its hand
