"""Join waiting requests of many streams into batches; pure: no threads, no Ray, no sleeping.

The in-process runner drives it from a thread, a segment worker from its event loop.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E", bound=Exception)


class Batcher(Generic[T]):
    """Waiting items by stream; a batch is due when it is full or its first item waited enough.

    Streams take turns item by item, so one that sends many cannot push the others back.

    Args:
        max_batch: items in one batch, from 1.
        max_wait_s: how long the first item of a batch waits for others.
        clock: seconds, monotonic.
    """

    def __init__(
        self, max_batch: int, max_wait_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if max_batch < 1:
            raise ValueError(f"Batcher.max_batch must be at least 1, got {max_batch}")
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._waiting: dict[str, deque[tuple[float, T]]] = {}  # in the order of turns
        self._count = 0

    def __len__(self) -> int:
        """Items waiting."""
        return self._count

    def add(self, stream: str, items: Iterable[T]) -> None:
        """Let items of one stream wait; their order is kept."""
        now = self._clock()
        queue = self._waiting.get(stream, deque())
        before = len(queue)
        queue.extend((now, item) for item in items)
        self._count += len(queue) - before
        if queue:
            self._waiting[stream] = queue

    def due_in(self) -> float | None:
        """Seconds until `take` has a batch, 0 now; None while nothing waits."""
        if not self._count:
            return None
        if self._count >= self._max_batch:
            return 0.0
        oldest = min(queue[0][0] for queue in self._waiting.values())
        return max(0.0, oldest + self._max_wait_s - self._clock())

    def take(self, *, early: bool = False) -> list[T]:
        """The batch that is due, or an empty list.

        Args:
            early: do not wait for others, take what there is.
        """
        if not early and self.due_in() != 0.0:
            return []
        batch: list[T] = []
        while self._waiting and len(batch) < self._max_batch:
            stream = next(iter(self._waiting))
            queue = self._waiting.pop(stream)
            batch.append(queue.popleft()[1])
            if queue:
                self._waiting[stream] = queue  # to the end: the others come first
        self._count -= len(batch)
        return batch

    def clear(self) -> list[T]:
        """Take everything out."""
        items = [item for queue in self._waiting.values() for _, item in queue]
        self._waiting.clear()
        self._count = 0
        return items


def isolate(
    work: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T], failure: type[E]
) -> list[R | E]:
    """Do the work on all items; where it fails, halve until the failing items stand alone.

    Args:
        work: one result an item, order kept.
        items: the batch.
        failure: what `work` raises when it cannot do a batch; anything else is let through.

    Returns:
        One result an item, or the failure of that item alone, which has failed twice: in company
        and alone, or twice alone.
    """
    outcome = _halved(work, items, failure)
    if len(items) == 1 and isinstance(outcome[0], failure):
        return _halved(work, items, failure)
    return outcome


def _halved(
    work: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T], failure: type[E]
) -> list[R | E]:
    if not items:
        return []
    try:
        return list(work(items))
    except failure as error:
        if len(items) == 1:
            return [error]
    half = len(items) // 2
    return _halved(work, items[:half], failure) + _halved(work, items[half:], failure)
