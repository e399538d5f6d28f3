"""Whose turn it is, where many streams want more than there is; pure.

Streams of one rank share by weight: with twice the share a stream gets twice the turns while both
have something waiting, however much one sends and the other does not (start-time fair queueing,
Goyal, Vin and Cheng 1996). A higher rank comes first, but one turn in `LOWER_EVERY` is for a lower
rank, the one whose last turn is longest ago: so nobody starves.

How long an item waits at most once it is the first of its stream, in turns of its rank: for every
other stream of the rank one turn and as many as that has of the share of this one. The highest
rank has all turns but one in `LOWER_EVERY`, each other one at least one in `LOWER_EVERY` times
their number.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

LOWER_EVERY = 8


@dataclass(frozen=True, slots=True)
class Turn:
    """What a stream may claim where there is not enough for all."""

    priority: int = 0
    """Higher comes first."""
    hurried: bool = False
    """Its results are worth nothing late: it comes before others of its priority."""
    share: float = 1.0
    """Of the turns of its rank, in proportion to the shares of the others; above 0."""

    @property
    def rank(self) -> tuple[int, bool]:
        """Who comes first: the larger one."""
        return self.priority, self.hurried


EQUAL = Turn()
"""Who claims nothing."""


@dataclass(slots=True)
class _Stream(Generic[T]):
    """One stream in its rank."""

    share: float
    passed: float = 0.0
    """Its turns so far divided by its share; who has come least far is next."""
    items: deque[T] = field(default_factory=deque)


@dataclass(slots=True)
class _Rank(Generic[T]):
    """The streams of one rank."""

    streams: dict[str, _Stream[T]] = field(default_factory=dict)
    order: list[tuple[float, int, str]] = field(default_factory=list)
    """Those with something waiting, a heap."""
    now: float = 0.0
    """How far the last one had come; nobody who comes back is behind that."""
    entries: int = 0
    had_turn: int = 0
    """The number of its last turn among those of all ranks."""

    def add(self, name: str, items: Iterable[T], share: float) -> None:
        stream = self.streams.setdefault(name, _Stream(share))
        stream.share = share
        waits = bool(stream.items)
        stream.items.extend(items)
        if stream.items and not waits:
            stream.passed = max(self.now, stream.passed)
            self._enter(name, stream)

    def take(self) -> T:
        self.now, _, name = heapq.heappop(self.order)
        stream = self.streams[name]
        item = stream.items.popleft()
        stream.passed += 1 / stream.share
        if stream.items:
            self._enter(name, stream)
        return item

    def forget(self) -> None:
        """Streams without items that are not ahead of the others either."""
        ahead_of = self.now if self.order else math.inf
        left = self.streams.items()
        self.streams = {name: one for name, one in left if one.items or one.passed > ahead_of}

    def _enter(self, name: str, stream: _Stream[T]) -> None:
        self.entries += 1  # among equals the first to come
        heapq.heappush(self.order, (stream.passed, self.entries, name))


class Turns(Generic[T]):
    """Items that wait, by stream; those of one stream leave in their order."""

    def __init__(self) -> None:
        self._ranks: dict[tuple[int, bool], _Rank[T]] = {}
        self._count = 0
        self._taken = 0

    def __len__(self) -> int:
        """Items waiting."""
        return self._count

    def add(self, stream: str, items: Collection[T], turn: Turn) -> None:
        """Let items of one stream wait."""
        rank = self._ranks.setdefault(turn.rank, _Rank(had_turn=self._taken))
        rank.add(stream, items, turn.share)
        self._count += len(items)

    def take(self) -> T:
        """The item whose turn it is.

        Raises:
            ValueError: there is none.
        """
        highest, *lower = sorted((key for key, of in self._ranks.items() if of.order), reverse=True)
        self._taken += 1
        self._count -= 1
        for_lower = lower and self._taken % LOWER_EVERY == 0
        key = min(lower, key=lambda key: self._ranks[key].had_turn) if for_lower else highest
        self._ranks[key].had_turn = self._taken
        return self._ranks[key].take()

    def firsts(self) -> Iterator[T]:
        """The next item of every stream."""
        streams = (stream for rank in self._ranks.values() for stream in rank.streams.values())
        return (stream.items[0] for stream in streams if stream.items)

    def forget(self) -> None:
        """Keep nothing of streams that have nothing waiting and no turns in advance."""
        for rank in self._ranks.values():
            rank.forget()
        self._ranks = {key: rank for key, rank in self._ranks.items() if rank.streams}
