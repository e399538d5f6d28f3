"""What is counted of one sink: what it was offered, and what became of that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

Key = TypeVar("Key", str, int)


@dataclass(frozen=True, slots=True)
class SinkState:
    """What a sink that forwards results to a service says of itself."""

    state: str
    """connecting, connected, behind or lost."""
    spooled_bytes: int
    """What waits for it on the disk."""


@dataclass(frozen=True, slots=True)
class SinkCounts:
    """offered = delivered + dropped + failed + queued."""

    offered: int = 0
    delivered: int = 0
    queued: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    service: SinkState | None = None
    """None: it is no service."""

    def __add__(self, other: SinkCounts) -> SinkCounts:
        """Both together; the state is that of the other, later one."""
        return SinkCounts(
            self.offered + other.offered,
            self.delivered + other.delivered,
            self.queued + other.queued,
            added(self.dropped, other.dropped),
            added(self.failed, other.failed),
            other.service or self.service,
        )

    def lost(self, cause: str) -> SinkCounts:
        """What became of it when its worker died: what waited is dropped, unless on the disk."""
        if self.service is not None:
            return self
        dropped = added(self.dropped, {cause: self.queued}) if self.queued else self.dropped
        return replace(self, queued=0, dropped=dropped)

    def balanced(self) -> bool:
        """Whether every result offered is accounted for."""
        settled = self.delivered + sum(self.dropped.values()) + sum(self.failed.values())
        return self.offered == settled + self.queued


class Tally:
    """The moving counters of one sink; not safe for two threads at a time."""

    def __init__(self) -> None:
        self.offered = self.delivered = self.queued = 0
        self.dropped: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.service: Callable[[], SinkState] | None = None
        self.gone = False
        """It is shown no more."""

    def counts(self) -> SinkCounts:
        """Everything at this moment."""
        return SinkCounts(
            self.offered,
            self.delivered,
            self.queued,
            dict(self.dropped),
            dict(self.failed),
            None if self.service is None else self.service(),
        )


def added(a: Mapping[Key, int], b: Mapping[Key, int]) -> dict[Key, int]:
    """The sums of two counts, by cause."""
    return {cause: a.get(cause, 0) + b.get(cause, 0) for cause in sorted(set(a) | set(b))}
