"""What finds instances in pictures: a model, here or somewhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame
from pipeline.instances import Instances


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the records say about the model."""

    name: str
    labels: Mapping[int, str]
    """Names by class id, background left out."""
    sha256: str
    """Hex digest of the weights; empty for models without any."""


class Segmenter(Protocol):
    """A model: pictures in, instances out. Stateless, one calling thread at a time."""

    @property
    def info(self) -> ModelInfo:
        """Name, labels and digest of what is loaded; any thread, at once."""

    def segment(self, images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """Segment a batch; order kept, one `Instances` a picture, for no picture none.

        Called by the thread of the device and blocks until all are done. Not promised: how long
        that takes. Who hangs is found by its progress and replaced as a whole.

        Args:
            images: uint8 (H, W, 3) BGR, sizes may differ, possibly read-only. Only the segmenter
                converts colour, resizes and normalises. What is found in a picture does not
                depend on the pictures beside it.

        Raises:
            SegmentFailed: the batch cannot be done; the caller halves it to isolate the picture.
        """

    def close(self) -> None:
        """Release the device, after the last batch. Safe to call twice."""


@runtime_checkable
class Overlapping(Protocol):
    """A segmenter that can have several batches under way on its device."""

    @property
    def depth(self) -> int:
        """How many; known once it has segmented a first batch. 1: it is used as any other."""

    def begin(self, images: Sequence[NDArray[np.uint8]]) -> Callable[[], Sequence[Instances]]:
        """Put a batch on the device and return at once; the function returned waits for it.

        Both are called by the thread of the device, batches are ended in the order they began, at
        most `depth` are open. Either may raise what `segment` raises.
        """


@runtime_checkable
class Warm(Protocol):
    """A segmenter whose first batches would be slow ones."""

    def warm_up(self) -> None:
        """Do what costs time once; called before the worker is ready, by the thread of the device.

        May take minutes. Left out where a slow beginning harms nobody.

        Raises:
            SegmentFailed: the device cannot do a single picture.
        """


@runtime_checkable
class Measured(Protocol):
    """A segmenter that counts the sizes it works in."""

    @property
    def buckets(self) -> Mapping[tuple[int, int], int]:
        """Pictures so far by the (height, width) they were padded to; any thread, at once."""


class Travelled(Future[Instances]):
    """The answer to a frame that was sent to another process and knows how long that took."""

    legs: tuple[tuple[str, float, float], ...] = ()
    """Name, begin and end of each part of its way, by the clock of who sent it."""


class AsyncSegmenter(Protocol):
    """A segmenter somewhere else: behind a batching thread, or on a pool of remote workers."""

    @property
    def info(self) -> ModelInfo:
        """The model all answers come from."""

    def submit(self, frames: Sequence[Frame]) -> list[Future[Instances]]:
        """Hand over frames and return at once with one future a frame, order kept.

        Called by the loops of all streams, each in its own thread. Each future is resolved exactly
        once, with `Instances` or `SegmentFailed`, whatever happens to the worker; after `close` at
        once. Not promised: the order in which they are resolved.
        """

    def close(self) -> None:
        """Fail what is still open with cause `closed` and release everything.

        Called by the owner after the last stream; may wait for the batch in the model. Safe to
        call twice.
        """


@runtime_checkable
class Switchable(Protocol):
    """An `AsyncSegmenter` of one stream, where a run may get another model while it goes on."""

    @property
    def model(self) -> int:
        """The number of the model that segments what is submitted; 0: that of the start."""

    def switch(self, model: int, info: ModelInfo) -> None:
        """Have another model segment what is submitted from now on; returns at once.

        Called by the loop of the stream, between two frames, while nothing is open.

        Args:
            model: its number in the run; it is loaded.
            info: of it, as records are to name it.
        """
