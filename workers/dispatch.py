"""Which worker gets which frames, when a call is overdue, and what becomes of a lost one.

Pure decisions: no Ray, no thread, no waiting. One `Dispatcher` belongs to one stream and is used by
one thread; frames are known to it by their tickets only. A ticket leaves it in one of two ways:
its call is answered, or it is given up after its workers were lost `max_losses` times.

Three rules keep a fault from spreading. A call belongs to one generation of one worker, and once
that call has been lost or has run over its deadline its answer is refused, so no frame is answered
twice. A worker that lost a call gets no more until a newer generation has taken its place. Frames
that have lost two workers travel alone, one at a time, so that the one that kills them is found.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.clock import Clock

QUARANTINE_LOSSES = 2
BACKLOG_SLACK = 3.0
"""A call may take this many times the work ahead of it, beside the timeout of its own batch."""


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One life of one segment worker."""

    worker_id: str
    generation: int
    """Grows with every replacement, so that answers of an earlier life can be told apart."""

    def __str__(self) -> str:
        return f"{self.worker_id}#{self.generation}"


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a worker says it is."""

    waiting: int = 0
    """Frames it has accepted and not answered, of all streams."""
    seconds_per_frame: float = 0.0
    """What a frame has cost it lately; 0 where it cannot tell yet."""


@dataclass(frozen=True, slots=True)
class Call:
    """One message to one worker."""

    call_id: int
    member: Member
    tickets: tuple[int, ...]
    """In the order of the stream."""
    alone: bool = False
    """True: the worker must not batch these frames with others."""


@dataclass(slots=True)
class _Open:
    call: Call
    deadline: float


@dataclass(slots=True)
class _Known:
    """What a stream knows about a worker."""

    load: Load
    sent_since: int = 0
    """Frames sent after `load` was reported."""

    @property
    def backlog(self) -> int:
        """Frames that are before the next one."""
        return self.load.waiting + self.sent_since

    def seconds_with(self, frames: int) -> float:
        """Time until `frames` more would be done; counts frames where times are unknown."""
        return (self.backlog + frames) * (self.load.seconds_per_frame or 1.0)


@dataclass(slots=True)
class Dispatcher:
    """Spreads the frames of one stream over the workers there are.

    Args:
        max_batch: frames in one call, at most.
        max_wait_s: how long a frame waits for others; where a worker is idle it is sent at once.
        call_timeout_s: deadline of a call to an idle worker; work ahead of it is added.
        spread: number of the stream; lets streams prefer different workers among equals.
        max_losses: a frame whose worker was lost this many times is given up.
        clock: monotonic seconds.
    """

    max_batch: int
    max_wait_s: float
    call_timeout_s: float
    spread: int = 0
    max_losses: int = 4
    clock: Clock = time.monotonic

    _waiting: dict[int, float] = field(default_factory=dict)
    _losses: dict[int, int] = field(default_factory=dict)
    _open: dict[int, _Open] = field(default_factory=dict)
    _members: dict[Member, _Known] = field(default_factory=dict)
    _suspects: set[Member] = field(default_factory=set)
    _next_call: int = 0

    @property
    def suspects(self) -> frozenset[Member]:
        """Workers that lost a call and have not been replaced yet."""
        return frozenset(self._suspects)

    @property
    def members(self) -> frozenset[Member]:
        """Workers that get calls."""
        return frozenset(self._members) - self._suspects

    def add(self, ticket: int) -> None:
        """Take a new frame; tickets grow along the stream."""
        self._waiting[ticket] = self.clock()

    def set_members(self, loads: Mapping[Member, Load]) -> list[int]:
        """Say which workers there are and how busy they were a moment ago.

        Returns:
            Tickets given up, because their worker left and it was not their first.
        """
        given_up: list[int] = []
        for member in [m for m in self._members if m not in loads]:
            for call_id in [c for c, o in self._open.items() if o.call.member == member]:
                given_up += self.lost(call_id)
            del self._members[member]
        self._suspects &= set(loads)
        busy = {entry.call.member for entry in self._open.values()}
        for member, load in loads.items():
            if member not in busy:  # answers of an open call bring fresher news
                self._members[member] = _Known(load)
        return given_up

    def calls(self) -> list[Call]:
        """Decide what to send now; every call returned counts as sent."""
        decided: list[Call] = []
        while (member := self._least_loaded()) is not None:
            tickets, alone = self._due(idle=self._members[member].backlog == 0)
            if not tickets:
                break
            decided.append(self._start(member, tickets, alone=alone))
        return decided

    def answered(self, call_id: int, load: Load) -> bool:
        """Take note of an answer; False: the call is no longer valid, drop the answer."""
        entry = self._open.pop(call_id, None)
        if entry is None:
            return False
        if (known := self._members.get(entry.call.member)) is not None:
            known.load, known.sent_since = load, 0
        for ticket in entry.call.tickets:
            self._losses.pop(ticket, None)
        return True

    def lost(self, call_id: int) -> list[int]:
        """Take note that a call cannot be answered any more; its frames wait for another worker.

        Returns:
            Tickets given up.
        """
        entry = self._open.pop(call_id, None)
        if entry is None:
            return []
        if entry.call.member in self._members:
            self._suspects.add(entry.call.member)
        given_up = []
        for ticket in entry.call.tickets:
            losses = self._losses.pop(ticket, 0) + 1
            if losses >= self.max_losses:
                given_up.append(ticket)
            else:
                self._losses[ticket] = losses
                self._waiting[ticket] = self.clock() - self.max_wait_s  # it has waited enough
        self._waiting = dict(sorted(self._waiting.items()))  # the oldest holds up its stream
        return given_up

    def overdue(self) -> list[int]:
        """Ids of the calls past their deadline; hand each to `lost`."""
        now = self.clock()
        return [call_id for call_id, entry in self._open.items() if now > entry.deadline]

    def wake_in(self) -> float | None:
        """Seconds until `calls` or `overdue` may have something new without any news, or None."""
        now = self.clock()
        times = [entry.deadline - now for entry in self._open.values()]
        _, ready = self._sorted_waiting()
        if ready and self.members:
            times.append(self._waiting[ready[0]] + self.max_wait_s - now)
        return max(0.0, min(times)) if times else None

    def _least_loaded(self) -> Member | None:
        candidates = sorted(self._members.keys() - self._suspects)
        if not candidates:
            return None
        turn = self.spread % len(candidates)
        candidates = candidates[turn:] + candidates[:turn]
        return min(candidates, key=lambda member: self._members[member].seconds_with(1))

    def _due(self, *, idle: bool) -> tuple[tuple[int, ...], bool]:
        """The tickets of the next call and whether they travel alone; none: wait."""
        held, ready = self._sorted_waiting()
        if held and not any(entry.call.alone for entry in self._open.values()):
            return (held[0],), True
        if not ready:
            return (), False
        waited = self.clock() - self._waiting[ready[0]]
        if not idle and len(ready) < self.max_batch and waited < self.max_wait_s:
            return (), False
        return tuple(ready[: self.max_batch]), False

    def _sorted_waiting(self) -> tuple[list[int], list[int]]:
        """Waiting tickets that must travel alone, and the others; oldest first."""
        held: list[int] = []
        ready: list[int] = []
        for ticket in self._waiting:
            alone = self._losses.get(ticket, 0) >= QUARANTINE_LOSSES
            (held if alone else ready).append(ticket)
        return held, ready

    def _start(self, member: Member, tickets: tuple[int, ...], *, alone: bool) -> Call:
        call = Call(self._next_call, member, tickets, alone)
        self._next_call += 1
        known = self._members[member]
        ahead_s = (known.backlog + len(tickets)) * known.load.seconds_per_frame
        deadline = self.clock() + self.call_timeout_s + BACKLOG_SLACK * ahead_s
        self._open[call.call_id] = _Open(call, deadline)
        known.sent_since += len(tickets)
        for ticket in tickets:
            del self._waiting[ticket]
        return call
