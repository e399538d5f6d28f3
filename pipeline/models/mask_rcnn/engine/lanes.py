"""Batches in flight: each pass has a lane, and on a GPU a lane is a stream of its own.

A pass is a generator that puts work on its lane and yields the tensors it needs on the host.
What two lanes hold runs at the same time as far as the device can, so that the upload of one batch,
the computation of another and the download of a third overlap. On a CPU there is one lane, and
nothing is ever waited for. (The ownership of lanes is tested on a CPU; the overlap has not run on
a GPU yet.)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from pipeline.models.mask_rcnn.engine.cuda import Cuda
from pipeline.models.mask_rcnn.engine.graphs import Graphs

T = TypeVar("T")


class Fetch:
    """Tensors on their way to the host; from a GPU all of them in one copy to pinned memory."""

    def __init__(self, tensors: Sequence[Tensor], cuda: Cuda | None) -> None:
        self._like = tensors
        self._arrived: Callable[[], None] | None = None
        if cuda is None:
            return
        self._order = sorted(range(len(tensors)), key=lambda i: -tensors[i].element_size())
        parts = [tensors[i].contiguous().flatten().view(torch.uint8) for i in self._order]
        self._lengths = [len(part) for part in parts]
        packed = torch.cat(parts)
        self._bytes = cuda.pinned(len(packed))
        self._bytes.copy_(packed, non_blocking=True)
        self._arrived = cuda.mark()

    def wait(self) -> list[Tensor]:
        """The tensors on the host, in the order they were given."""
        if self._arrived is None:
            return list(self._like)
        self._arrived()
        parts = torch.split(self._bytes, self._lengths)
        return [
            parts[self._order.index(i)].view(like.dtype).view(like.shape)
            for i, like in enumerate(self._like)
        ]


Steps = Generator[Sequence[Tensor], list[Tensor], T]
"""A pass: yields what it needs on the host and is sent it; returns the result."""


class Pass(Generic[T]):
    """A batch under way; belongs to the lane it runs on until it is done."""

    def __init__(self, steps: Steps[T], lane: Lane) -> None:
        self._steps, self._lane = steps, lane
        self._awaited: Fetch | None = None
        self._result: list[T] = []
        self._error: Exception | None = None
        self._go_on(None)

    def result(self) -> T:
        """Wait until it is done; raises what went wrong in it."""
        self.settle()
        if self._error is not None:
            raise self._error
        return self._result[0]

    def settle(self) -> None:
        """Wait until it is done; whoever asks for the result learns how it ended."""
        while self._awaited is not None:
            self._go_on(self._awaited)

    def _go_on(self, arrived: Fetch | None) -> None:
        self._awaited = None
        try:
            with self._lane.active():
                wanted = self._steps.send(arrived.wait()) if arrived else next(self._steps)
                self._awaited = Fetch(wanted, self._lane.cuda)
        except StopIteration as end:
            self._result = [end.value]
        except Exception as error:  # noqa: BLE001 - handed to whoever asks for the result
            self._error = error


class Lane:
    """Room for one pass at a time, with what belongs to it: a stream, and recorded graphs."""

    def __init__(self, cuda: Cuda | None) -> None:
        self.cuda = cuda
        self.graphs = Graphs(cuda)
        self._stream: Any = cuda and cuda.stream()
        self._pass: Pass[object] | None = None

    def start(self, steps: Steps[T]) -> Pass[T]:
        """Begin a pass; the one before it on this lane is done first."""
        if self._pass is not None:
            self._pass.settle()
        started = Pass(steps, self)
        self._pass = started  # type: ignore[assignment]
        return started

    def clear(self) -> None:
        """Finish what is under way and give up the memory of recorded graphs."""
        if self._pass is not None:
            self._pass.settle()
            self._pass = None
        self.graphs.clear()

    @contextmanager
    def active(self) -> Iterator[None]:
        """What runs inside belongs to this lane."""
        stream = self.cuda.on(self._stream) if self.cuda else nullcontext()
        with torch.inference_mode(), stream:
            yield


class Lanes:
    """Lanes that take turns.

    Args:
        cuda: of the device; None: it has none.
        depth: how many passes may be under way at once.
    """

    def __init__(self, cuda: Cuda | None, depth: int) -> None:
        self._lanes = [Lane(cuda) for _ in range(depth)]
        self._turn = 0

    def start(self, steps: Callable[[Lane], Steps[T]]) -> Pass[T]:
        """Begin a pass on the next lane."""
        lane = self._lanes[self._turn]
        self._turn = (self._turn + 1) % len(self._lanes)
        return lane.start(steps(lane))

    def forget(self) -> None:
        """Finish what is under way and give up the memory of recorded graphs."""
        for lane in self._lanes:
            lane.clear()
