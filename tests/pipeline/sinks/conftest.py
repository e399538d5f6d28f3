"""Results and pictures for sinks, and how each kind is opened."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.picture import Labels, Picture
from pipeline.results import FrameResult
from pipeline.sinks import SCHEMES, open_sink
from pipeline.stages import Sink

LABELS = {1: "person", 3: "car"}


def square_instances(size: tuple[int, int], *, score: float = 0.9) -> Instances:
    """Two squares, side 4 and 6, that share 2 × 2 pixels; the second has the lower score."""
    dense = np.zeros((2, *size), bool)
    dense[0, 2:6, 2:6] = True
    dense[1, 4:10, 4:10] = True
    return Instances(
        np.array([[2, 2, 6, 6], [4, 4, 10, 10]], np.float32),
        np.array([score, score / 2], np.float32),
        np.array([3, 1]),
        Masks.from_dense(dense),
        track_ids=np.array([7, 8]),
    )


@pytest.fixture
def make_result() -> Callable[..., FrameResult]:
    def make(
        index: int,
        *,
        instances: Instances | None = None,
        size: tuple[int, int] = (48, 64),
        pts_s: float | None = None,
        epoch: int = 0,
    ) -> FrameResult:
        return FrameResult(
            run="r1",
            source_id="gate",
            epoch=epoch,
            index=index,
            pts_s=index / 25 if pts_s is None else pts_s,
            captured_at_s=None,
            clock=None,
            size=size,
            model="blob",
            instances=square_instances(size) if instances is None else instances,
            labels=LABELS,
        )

    return make


@pytest.fixture
def make_picture() -> Callable[..., Picture]:
    """Grey by the frame's number, or `image`; drawing makes brighter and is noted in `drawn`."""

    def make(
        index: int,
        *,
        size: tuple[int, int] = (48, 64),
        image: NDArray[np.uint8] | None = None,
        drawn: list[Instances] | None = None,
    ) -> Picture:
        def draw(
            image: NDArray[np.uint8], instances: Instances, labels: Labels
        ) -> NDArray[np.uint8]:
            if drawn is not None:
                drawn.append(instances)
            return image + np.uint8(100)

        if image is None:
            image = np.full((*size, 3), 10 + 4 * (index % 30), np.uint8)
        found = square_instances((image.shape[0], image.shape[1]))
        return Picture(image, found, LABELS, draw)

    return make


@pytest.fixture
def open_for_test() -> Callable[..., Sink]:
    def open_(url: str, **changes: object) -> Sink:
        settings: dict[str, object] = {"source_id": "gate", "run": "r1", "labels": LABELS}
        return open_sink(url, **(settings | changes))  # type: ignore[arg-type]

    return open_


@pytest.fixture
def schemes_restored() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    before = set(SCHEMES)
    yield
    for name in set(SCHEMES) - before:
        SCHEMES.forget(name)


@pytest.fixture
def write(
    make_result: Callable[..., FrameResult], make_picture: Callable[..., Picture]
) -> Callable[..., None]:
    """Frames of a file, 5 a second, or of a camera whose clock said so."""

    def write(
        sink: Sink,
        frames: range,
        *,
        epoch: int = 0,
        at: float | None = None,
        size: tuple[int, int] = (48, 64),
    ) -> None:
        for i in frames:
            result = make_result(i, epoch=epoch, pts_s=i / 5)
            if at is not None:
                result = replace(result, captured_at_s=at + i / 5, clock="arrival")
            sink.write(result, make_picture(i, size=size))

    return write
