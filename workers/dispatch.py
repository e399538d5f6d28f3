"""Which worker gets which frames, and what becomes of those of a lost call.

Pure decisions: no Ray, no thread, no waiting. One `Dispatcher` belongs to one process, all of whose
streams it serves, and is used by one thread; frames are known to it by their tickets only. A ticket
leaves it answered, given up after its workers were lost `max_losses` times, or with its stream.

Three rules keep a fault from spreading. A call belongs to one generation of one worker, and once
that call has been lost its answer is refused, so no frame is answered twice. A worker that lost a
call gets no more until it has been heard of again. Frames that have lost two workers travel alone,
one at a time, so that the one that kills them is found; a worker has one such frame of all streams
and refuses the next, which is no loss, and processes come to a new one in turns, so that none is
blamed for its neighbour.

Two rules keep a process from being busy with messages. Beside workers that have work frames wait
for each other, and none gets a third message that is not full before one of two is back: the more
there is to do, the more frames a message has. And the bytes under way to a machine, and from this
one, are bounded by what its shared memory has room for; what finds none waits.

No call has a deadline here: how long it may take depends on frames of which nothing is known here.
Whether a worker still works is judged where its progress is seen, in `workers.slots`.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from pipeline.clock import Clock
from workers.members import Known, Load, Member
from workers.room import StoreRoom
from workers.waiting import ANY, Pending, Waiting, Wants

QUARANTINE_LOSSES = 2
REFUSED_FOR_S = 0.2
"""Before a frame that must travel alone is offered again."""
TURNS_S = 1.0
"""Over which processes bring a new worker what travels alone: where one ends it, the others have
heard of that and lost nothing with it."""
_GOLDEN = 0.618
"""Its multiples lie far from each other, whichever streams a process has."""
UNDER_WAY = 2
"""Messages of a kind, not full, that a worker may have: it does one and has the next at hand."""


@dataclass(frozen=True, slots=True)
class Call:
    """One message to one worker."""

    call_id: int
    member: Member
    tickets: tuple[int, ...]
    """Those of each stream together, in its order."""
    wants: Wants = ANY
    alone: bool = False
    """True: the worker must not batch these frames with others."""
    size: int = 0
    """Bytes of its pictures."""


@dataclass(slots=True)
class Dispatcher:
    """Spreads the frames of a process over the workers there are.

    Args:
        max_batch: frames in one call, at most.
        max_wait_s: how long a frame waits for others; where a worker is idle it is sent at once.
        spread: lets processes prefer different workers among equals, and come to one that is new at
            different times with frames that travel alone.
        max_losses: a frame whose worker was lost this many times is given up.
        clock: monotonic seconds.
        node: the machine of the process; empty where there is one alone.
        network_bytes_per_s: between machines: a worker on another one is taken where it is done so
            much earlier that sending it the frame pays.
    """

    max_batch: int
    max_wait_s: float
    spread: int = 0
    max_losses: int = 4
    clock: Clock = time.monotonic
    node: str = ""
    network_bytes_per_s: float = math.inf

    room: StoreRoom = field(init=False)
    """For bytes under way."""
    _items: dict[int, Pending] = field(default_factory=dict)
    """All that are waiting or under way."""
    _waiting: Waiting = field(default_factory=Waiting)
    _held: list[Pending] = field(default_factory=list)
    """Those waiting that travel alone, oldest first."""
    _open: dict[int, Call] = field(default_factory=dict)
    _members: dict[Member, Known] = field(default_factory=dict)
    _order: list[tuple[Member, Known]] = field(default_factory=list)  # first among equals first
    _alone_from_s: float = 0.0
    _next_call: int = 0

    def __post_init__(self) -> None:
        self.room = StoreRoom(self.node)

    @property
    def members(self) -> frozenset[Member]:
        """Workers that get calls."""
        return frozenset(member for member, known in self._members.items() if known.takes)

    def owed_since(self) -> dict[Member, float]:
        """Since when each worker has answered nothing, of those that owe an answer."""
        since = {member: known.owes_since for member, known in self._members.items()}
        return {member: at_s for member, at_s in since.items() if at_s is not None}

    def add(self, ticket: int, size: int = 0, *, stream: str = "", wants: Wants = ANY) -> None:
        """Take a new frame; tickets grow along each stream, `size` is in bytes."""
        item = self._items[ticket] = Pending(ticket, stream, wants, size, self.clock())
        self._waiting.add(item)

    def forget(self, stream: str) -> list[int]:
        """Keep nothing of a stream; answers to what is under way say nothing any more.

        Returns:
            Its tickets that were not answered.
        """
        self._waiting.forget(stream)
        self._held = [item for item in self._held if item.stream != stream]
        forgotten = [item.ticket for item in self._items.values() if item.stream == stream]
        for ticket in forgotten:
            del self._items[ticket]
        return forgotten

    def set_members(self, loads: Mapping[Member, Load]) -> list[int]:
        """Say which workers there are and how busy they were a moment ago.

        Returns:
            Tickets given up, because their worker left and it was not their first.
        """
        given_up: list[int] = []
        for member in [m for m in self._members if m not in loads]:
            for call_id in [c for c, call in self._open.items() if call.member == member]:
                given_up += self.lost(call_id)
            del self._members[member]
        if self._held and any(member not in self._members for member in loads):
            turn_s = self.spread * _GOLDEN % 1.0 * TURNS_S
            self._alone_from_s = max(self._alone_from_s, self.clock() + turn_s)
        for member, load in loads.items():
            known = self._members.setdefault(member, Known(load))
            known.hear(load)
            known.leaving = load.leaving
        order = sorted(self._members.items(), key=itemgetter(0))
        turn = self.spread % max(1, len(order))
        self._order = order[turn:] + order[:turn]
        return given_up

    def calls(self) -> list[Call]:
        """Decide what to send now; every call returned counts as sent."""
        decided: list[Call] = []
        while (call := self._next_alone() or self._next()) is not None:
            decided.append(call)
        return decided

    def answered(self, call_id: int, load: Load) -> bool:
        """Take note of an answer; False: the call is no longer valid, drop the answer."""
        call = self._heard(call_id, load)
        for ticket in () if call is None else call.tickets:
            self._items.pop(ticket, None)
        return call is not None

    def refused(self, call_id: int, load: Load) -> None:
        """Take note that the worker had another frame that must be alone; it is offered again."""
        if (call := self._heard(call_id, load)) is not None:
            self._alone_from_s = self.clock() + REFUSED_FOR_S
            self._wait_again(call)

    def lost(self, call_id: int) -> list[int]:
        """Take note that a call cannot be answered any more; its frames wait for another worker.

        Returns:
            Tickets given up.
        """
        if (call := self._ended(call_id)) is None:
            return []
        known = self._members[call.member]
        known.doubted_at = known.load.reports
        items = self._left_of(call)
        for item in items:
            item.losses += 1
        given_up = [item.ticket for item in items if item.losses >= self.max_losses]
        for ticket in given_up:
            del self._items[ticket]
        self._wait_again(call)
        return given_up

    def wake_in(self) -> float | None:
        """Seconds until `calls` may have something new without any news, or None."""
        moments = [
            self._due_in(wants, member)
            for wants in self._waiting.wanted
            if (member := self._for_next(wants)) is not None
        ]
        if self._held and self.members and self.clock() < self._alone_from_s:
            moments.append(self._alone_from_s - self.clock())
        return min(moments, default=None)

    def _next_alone(self) -> Call | None:
        one_is_under_way = any(call.alone for call in self._open.values())
        if not self._held or one_is_under_way or self.clock() < self._alone_from_s:
            return None
        member = self._least_loaded(self._held[0])
        return None if member is None else self._start(member, [self._held.pop(0)], alone=True)

    def _next(self) -> Call | None:
        for wants in self._waiting.wanted:
            member = self._for_next(wants)
            if member is not None and not self._due_in(wants, member):
                items = self._waiting.take(wants, self.max_batch, self.room.left(member.node))
                return self._start(member, items)
        return None

    def _due_in(self, wants: Wants, member: Member) -> float:
        """Seconds until the next message is to go to a worker."""
        if not self._members[member].backlog or self._waiting.count(wants) >= self.max_batch:
            return 0.0
        return max(0.0, self._waiting.since_s(wants) + self.max_wait_s - self.clock())

    def _for_next(self, wants: Wants) -> Member | None:
        """Who may have the next message; None: nobody, before there is news."""
        full = self._waiting.count(wants) >= self.max_batch
        light = Counter(
            call.member
            for call in self._open.values()
            if not full and call.wants == wants and len(call.tickets) < self.max_batch
        )
        busy = [member for member, count in light.items() if count >= UNDER_WAY]
        return self._least_loaded(self._waiting.first(wants), busy)

    def _least_loaded(self, item: Pending, busy: Collection[Member] = ()) -> Member | None:
        """Who is done first with a frame, of those that may have it."""
        model, size = item.wants.model, item.size
        takers = [
            (self._done_in_s(member, known, size), number, member)
            for number, (member, known) in enumerate(self._order)
            if known.takes and member.model == model and member not in busy
            if self.room.has(member.node, size)
        ]
        return min(takers)[2] if takers else None

    def _done_in_s(self, member: Member, known: Known, size: int) -> float:
        """Time until it would be done with one frame more, its way there included."""
        seconds = known.seconds_with(1)
        away = self.node and member.node and member.node != self.node
        return seconds + size / self.network_bytes_per_s if away else seconds

    def _start(self, member: Member, items: Sequence[Pending], *, alone: bool = False) -> Call:
        size = sum(item.size for item in items)
        tickets = tuple(item.ticket for item in items)
        call = Call(self._next_call, member, tickets, items[0].wants, alone, size)
        self._next_call += 1
        self._open[call.call_id] = call
        self.room.sent(member.node, size)
        known = self._members[member]
        known.open += len(tickets)
        known.sent_since += len(tickets)
        if known.owes_since is None:
            known.owes_since = self.clock()
        return call

    def _ended(self, call_id: int) -> Call | None:
        """A call that is over, one way or another; None: it was before."""
        if (call := self._open.pop(call_id, None)) is not None:
            self._members[call.member].open -= len(call.tickets)
            self.room.back(call.member.node, call.size)
        return call

    def _heard(self, call_id: int, load: Load) -> Call | None:
        """The call that a worker has come back on; None: it is no longer valid."""
        if (call := self._ended(call_id)) is not None:
            known = self._members[call.member]
            known.owes_since = self.clock() if known.open else None
            known.hear(load)
        return call

    def _left_of(self, call: Call) -> list[Pending]:
        """Its frames, without those that nobody waits for any more."""
        return [self._items[ticket] for ticket in call.tickets if ticket in self._items]

    def _wait_again(self, call: Call) -> None:
        items = self._left_of(call)
        for item in items:
            item.since_s = self.clock() - self.max_wait_s  # it has waited enough
        alone = [item for item in items if item.losses >= QUARANTINE_LOSSES]
        self._held = sorted([*self._held, *alone], key=lambda item: item.ticket)
        self._waiting.again(item for item in items if item.losses < QUARANTINE_LOSSES)
