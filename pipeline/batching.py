"""Join waiting requests of many streams into batches; pure: no threads, no Ray, no sleeping.

The in-process runner drives it from a thread, a segment worker from its event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from pipeline.turns import EQUAL, Turn, Turns

T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E", bound=Exception)


class Batcher(Generic[T]):
    """Waiting items by stream; a batch is due when it is full or its first item waited enough.

    Streams take turns item by item (`pipeline.turns`), so one that sends many cannot push the
    others back.

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
        self._turns: Turns[tuple[float, T]] = Turns()

    def __len__(self) -> int:
        """Items waiting."""
        return len(self._turns)

    def add(self, stream: str, items: Iterable[T], turn: Turn = EQUAL) -> None:
        """Let items of one stream wait; their order is kept."""
        now = self._clock()
        self._turns.add(stream, [(now, item) for item in items], turn)

    def due_in(self) -> float | None:
        """Seconds until `take` has a batch, 0 now; None while nothing waits."""
        if not self._turns:
            return None
        if len(self._turns) >= self._max_batch:
            return 0.0
        oldest = min(since for since, _ in self._turns.firsts())
        return max(0.0, oldest + self._max_wait_s - self._clock())

    def take(self, *, early: bool = False) -> list[T]:
        """The batch that is due, or an empty list.

        Args:
            early: do not wait for others, take what there is.
        """
        if not early and self.due_in() != 0.0:
            return []
        size = min(len(self._turns), self._max_batch)
        batch = [self._turns.take()[1] for _ in range(size)]
        self._turns.forget()
        return batch

    def clear(self) -> list[T]:
        """Take everything out."""
        return [self._turns.take()[1] for _ in range(len(self._turns))]


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
