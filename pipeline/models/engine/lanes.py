"""Batches in flight: each pass has a lane, and on a GPU a lane is a stream of its own.

A pass is a generator that puts work on its lane and yields where the host has to wait for numbers.
What two lanes hold runs at the same time as far as the device can, so that the upload of one batch,
the computation of another and the download of a third overlap. On a CPU there is one lane, and
nothing is ever waited for. (The ownership of lanes is tested on a CPU; the overlap has not run on
a GPU yet.)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor

from pipeline.models.engine.graphs import Graphs

T = TypeVar("T")


class Fetch:
    """Tensors on their way to the host; from a GPU all of them in one copy to pinned memory."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._like = tensors
        self._arrived: torch.cuda.Event | None = None
        if tensors[0].device.type == "cpu":
            return
        self._order = sorted(range(len(tensors)), key=lambda i: -tensors[i].element_size())
        parts = [tensors[i].contiguous().flatten().view(torch.uint8) for i in self._order]
        self._lengths = [len(part) for part in parts]
        packed = torch.cat(parts)
        self._bytes = torch.empty(packed.shape, dtype=torch.uint8, pin_memory=True)
        self._bytes.copy_(packed, non_blocking=True)
        self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._arrived.record()

    def wait(self) -> list[Tensor]:
        """The tensors on the host, in the order they were given."""
        if self._arrived is None:
            return list(self._like)
        self._arrived.synchronize()
        parts = torch.split(self._bytes, self._lengths)
        return [
            parts[self._order.index(i)].view(like.dtype).view(like.shape)
            for i, like in enumerate(self._like)
        ]


Steps = Generator[Fetch, list[Tensor], T]
"""A pass: yields what it needs on the host and is sent it; returns the result."""


class Pass(Generic[T]):
    """A batch under way; belongs to the lane it runs on until it is done."""

    def __init__(self, steps: Steps[T], active: Callable[[], AbstractContextManager[None]]) -> None:
        self._steps, self._active = steps, active
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
            with self._active():
                if arrived is None:
                    self._awaited = next(self._steps)
                else:
                    self._awaited = self._steps.send(arrived.wait())
        except StopIteration as end:
            self._result = [end.value]
        except Exception as error:  # noqa: BLE001 - handed to whoever asks for the result
            self._error = error


class Lane:
    """Room for one pass at a time, with what belongs to it: a stream, and recorded graphs."""

    def __init__(self, device: torch.device) -> None:
        self.graphs = Graphs(device)
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pass: Pass[object] | None = None

    def start(self, steps: Steps[T]) -> Pass[T]:
        """Begin a pass; the one before it on this lane is done first."""
        if self._pass is not None:
            self._pass.settle()
        started = Pass(steps, self._active)
        self._pass = started  # type: ignore[assignment]
        return started

    def clear(self) -> None:
        """Finish what is under way and give up the memory of recorded graphs."""
        if self._pass is not None:
            self._pass.settle()
            self._pass = None
        self.graphs.clear()

    @contextmanager
    def _active(self) -> Iterator[None]:
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            yield


class Lanes:
    """Lanes that take turns.

    Args:
        device: where they are.
        depth: how many passes may be under way at once.
    """

    def __init__(self, device: torch.device, depth: int) -> None:
        self._lanes = [Lane(device) for _ in range(depth)]
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
