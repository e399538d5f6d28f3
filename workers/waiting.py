"""`Waiting`: frames of one process that wait to be sent, and which of them travel together. Pure.

One message carries frames of several streams, because what a message costs hardly depends on what
is in it. It is answered when all of them are done, so only frames share one of which none would
have to wait for another: they want the same model and claim the same turns, and each stream has as
many frames in it as the others, all of those it has waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.turns import EQUAL, Turn


@dataclass(frozen=True, slots=True)
class Wants:
    """What a frame wants; those that want the same may share a message."""

    model: int = 0
    """By its number."""
    turn: Turn = EQUAL
    """Where there is not enough."""


ANY = Wants()
"""The model there is at the start, and no claims."""


@dataclass(slots=True)
class Pending:
    """A frame that is waiting or under way."""

    ticket: int
    """Grows along each stream."""
    stream: str
    wants: Wants
    size: int
    """Bytes of its picture."""
    since_s: float
    """From when on it waits for others."""
    losses: int = 0
    """How many workers were lost that had it."""


@dataclass(slots=True)
class Waiting:
    """By what they want and stream; those of a stream leave in their order, streams take turns."""

    _by_wants: dict[Wants, dict[str, deque[Pending]]] = field(default_factory=dict)

    @property
    def wanted(self) -> list[Wants]:
        """Those of the frames that wait, that of the oldest first."""
        return sorted(self._by_wants, key=self.since_s)

    def since_s(self, wants: Wants) -> float:
        """From when on the oldest that wants this waits."""
        return min(items[0].since_s for items in self._by_wants[wants].values())

    def count(self, wants: Wants) -> int:
        """How many wait that want this."""
        return sum(map(len, self._by_wants[wants].values()))

    def first(self, wants: Wants) -> Pending:
        """The next to leave of those that want this."""
        return next(iter(self._by_wants[wants].values()))[0]

    def add(self, item: Pending) -> None:
        """Let one wait behind those of its stream."""
        self._by_wants.setdefault(item.wants, {}).setdefault(item.stream, deque()).append(item)

    def again(self, items: Iterable[Pending]) -> None:
        """Let those wait that were sent before, each where its stream has it."""
        for item in items:
            streams = self._by_wants.setdefault(item.wants, {})
            both = [*streams.pop(item.stream, ()), item]
            # Before all others: the oldest holds up its stream.
            self._by_wants[item.wants] = {item.stream: deque(sorted(both, key=_place)), **streams}

    def take(self, wants: Wants, most: int, most_bytes: float) -> list[Pending]:
        """The items of the next message, at least one, those of each stream together."""
        streams = self._by_wants[wants]
        each = min(len(next(iter(streams.values()))), most)
        names: list[str] = []
        size = 0
        for name, items in streams.items():
            more = each * items[0].size
            if names and (len(names) == most // each or size + more > most_bytes):
                break
            if min(len(items), most) == each:
                names.append(name)
                size += more
        if size > most_bytes:  # the first alone
            each = max(1, int(each * most_bytes / size))
        taken: list[Pending] = []
        for name in names:
            items = streams.pop(name)
            taken += [items.popleft() for _ in range(each)]
            if items:
                streams[name] = items  # behind the others
        if not streams:
            del self._by_wants[wants]
        return taken

    def forget(self, stream: str) -> None:
        """Keep nothing of a stream."""
        for streams in self._by_wants.values():
            streams.pop(stream, None)
        self._by_wants = {wants: streams for wants, streams in self._by_wants.items() if streams}


def _place(item: Pending) -> int:
    return item.ticket
