"""Which worker gets which frames, and what becomes of those of a lost call.

Pure decisions: no Ray, no thread, no waiting. One `Dispatcher` belongs to one stream and is used by
one thread; frames are known to it by their tickets only. A ticket leaves it in one of two ways:
its call is answered, or it is given up after its workers were lost `max_losses` times.

Three rules keep a fault from spreading. A call belongs to one generation of one worker, and once
that call has been lost its answer is refused, so no frame is answered twice. A worker that lost a
call gets no more until it has been heard of again. Frames that have lost two workers travel alone,
one at a time, so that the one that kills them is found; a worker has one such frame of all streams
and refuses the next, which is no loss, so that none is blamed for its neighbour.

No call has a deadline here: how long it may take depends on the frames of all other streams, of
which this one knows nothing. Whether a worker still works is judged where its progress is seen, in
`workers.slots`; a stream only says since when it is owed an answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from pipeline.clock import Clock

QUARANTINE_LOSSES = 2
REFUSED_FOR_S = 0.2
"""Before a frame that must travel alone is offered again."""


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One life of one segment worker."""

    worker_id: str
    generation: int
    """Grows with every replacement, so that answers of an earlier life can be told apart."""
    model: int = 0
    """The number of the model it has; 0: that of the start of the run."""
    node: str = ""
    """The machine it is on; empty where there is one alone."""

    def __str__(self) -> str:
        return f"{self.worker_id}#{self.generation}"


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a worker says it is."""

    waiting: int = 0
    """Frames it has accepted and not answered, of all streams."""
    seconds_per_frame: float = 0.0
    """What a frame has cost it lately; 0 where it cannot tell yet."""
    reports: int = 0
    """How often it has answered for its health; tells newer news from older."""
    leaving: bool = False
    """It answers what it has, and gets no more."""


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
class Heard:
    """The latest a process has heard of a worker."""

    load: Load
    sent_since: int = 0
    """Frames sent after `load` came in, by all streams of the process."""

    def hear(self, load: Load) -> None:
        """Take in what is no older than what is known."""
        if load.reports >= self.load.reports:
            self.load, self.sent_since = load, 0


Board: TypeAlias = dict[Member, Heard]


@dataclass(slots=True)
class _Known:
    """What a stream knows about a worker."""

    news: Heard
    open: int = 0
    """Frames of this stream that it has not answered."""
    owes_since: float | None = None
    """When it was last heard of while it had frames of this stream, or lost them."""
    doubted_at: int | None = None
    """How many reports of it were known when it lost a call."""
    leaving: bool = False

    @property
    def backlog(self) -> int:
        """Frames that are before the next one."""
        return max(self.open, self.news.load.waiting + self.news.sent_since)

    def hear(self, load: Load) -> None:
        """Take in news; a report asked for after a loss ends the doubt."""
        self.news.hear(load)
        if self.doubted_at is not None and load.reports > self.doubted_at + 1:
            self.doubted_at = None

    def seconds_with(self, frames: int) -> float:
        """Time until `frames` more would be done; counts frames where times are unknown."""
        return (self.backlog + frames) * (self.news.load.seconds_per_frame or 1.0)


@dataclass(slots=True)
class Dispatcher:
    """Spreads the frames of one stream over the workers there are.

    Args:
        max_batch: frames in one call, at most.
        max_wait_s: how long a frame waits for others; where a worker is idle it is sent at once.
        spread: number of the stream; lets streams prefer different workers among equals.
        max_losses: a frame whose worker was lost this many times is given up.
        clock: monotonic seconds.
        board: what is known of the load of workers, shared by the streams of a process: what one
            has heard or sent the others know, too. Nobody waits for anybody over it.
        node: the machine of the stream; empty where there is one alone.
        network_bytes_per_s: between machines: a worker on another one is taken where it is done so
            much earlier that sending it the frame pays.
    """

    max_batch: int
    max_wait_s: float
    spread: int = 0
    max_losses: int = 4
    clock: Clock = time.monotonic
    board: Board = field(default_factory=dict)
    node: str = ""
    network_bytes_per_s: float = math.inf

    _frame_bytes: int = 0
    _waiting: dict[int, float] = field(default_factory=dict)
    _losses: dict[int, int] = field(default_factory=dict)
    _open: dict[int, Call] = field(default_factory=dict)
    _members: dict[Member, _Known] = field(default_factory=dict)
    _alone_from_s: float = 0.0
    _next_call: int = 0

    @property
    def members(self) -> frozenset[Member]:
        """Workers that get calls."""
        return frozenset(
            member
            for member, known in self._members.items()
            if known.doubted_at is None and not known.leaving
        )

    def owed_since(self) -> dict[Member, float]:
        """Since when each worker has answered nothing, of those that owe this stream an answer."""
        return {
            member: known.owes_since
            for member, known in self._members.items()
            if known.owes_since is not None
        }

    def add(self, ticket: int, frame_bytes: int = 0) -> None:
        """Take a new frame; tickets grow along the stream, whose frames are all about as large."""
        self._frame_bytes = frame_bytes
        self._waiting[ticket] = self.clock()

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
        for member, load in loads.items():
            known = self._members.get(member)
            if known is None:
                known = self._members[member] = _Known(self.board.setdefault(member, Heard(load)))
            known.hear(load)
            known.leaving = load.leaving
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
        call = self._heard(call_id, load)
        if call is None:
            return False
        for ticket in call.tickets:
            self._losses.pop(ticket, None)
        return True

    def refused(self, call_id: int, load: Load) -> None:
        """Take note that the worker had another frame that must be alone; it is offered again."""
        if (call := self._heard(call_id, load)) is not None:
            self._alone_from_s = self.clock() + REFUSED_FOR_S
            self._wait_again(call.tickets)

    def lost(self, call_id: int) -> list[int]:
        """Take note that a call cannot be answered any more; its frames wait for another worker.

        Returns:
            Tickets given up.
        """
        call = self._open.pop(call_id, None)
        if call is None:
            return []
        known = self._members[call.member]
        known.open -= len(call.tickets)
        known.doubted_at = known.news.load.reports
        for ticket in call.tickets:
            self._losses[ticket] = self._losses.get(ticket, 0) + 1
        given_up = [t for t in call.tickets if self._losses[t] >= self.max_losses]
        for ticket in given_up:
            del self._losses[ticket]
        self._wait_again([ticket for ticket in call.tickets if ticket in self._losses])
        return given_up

    def wake_in(self) -> float | None:
        """Seconds until `calls` may have something new without any news, or None."""
        held, ready = self._sorted_waiting()
        if not self.members:
            return None
        moments = [self._waiting[ready[0]] + self.max_wait_s] if ready else []
        if held and self.clock() < self._alone_from_s:
            moments.append(self._alone_from_s)
        return max(0.0, min(moments) - self.clock()) if moments else None

    def _heard(self, call_id: int, load: Load) -> Call | None:
        """The call that a worker has come back on; None: it is no longer valid."""
        call = self._open.pop(call_id, None)
        if call is not None:
            known = self._members[call.member]
            known.open -= len(call.tickets)
            known.owes_since = self.clock() if known.open else None
            known.hear(load)
        return call

    def _wait_again(self, tickets: Sequence[int]) -> None:
        for ticket in tickets:
            self._waiting[ticket] = self.clock() - self.max_wait_s  # it has waited enough
        self._waiting = dict(sorted(self._waiting.items()))  # the oldest holds up its stream

    def _least_loaded(self) -> Member | None:
        candidates = sorted(self.members)
        if not candidates:
            return None
        turn = self.spread % len(candidates)
        candidates = candidates[turn:] + candidates[:turn]
        return min(candidates, key=self._done_in_s)

    def _done_in_s(self, member: Member) -> float:
        """Time until it would be done with one frame more, its way there included."""
        seconds = self._members[member].seconds_with(1)
        away = self.node and member.node and member.node != self.node
        return seconds + self._frame_bytes / self.network_bytes_per_s if away else seconds

    def _due(self, *, idle: bool) -> tuple[tuple[int, ...], bool]:
        """The tickets of the next call and whether they travel alone; none: wait."""
        held, ready = self._sorted_waiting()
        if held and self.clock() >= self._alone_from_s and not self._one_is_alone():
            return (held[0],), True
        if not ready:
            return (), False
        waited = self.clock() - self._waiting[ready[0]]
        if not idle and len(ready) < self.max_batch and waited < self.max_wait_s:
            return (), False
        return tuple(ready[: self.max_batch]), False

    def _one_is_alone(self) -> bool:
        return any(call.alone for call in self._open.values())

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
        self._open[call.call_id] = call
        known = self._members[member]
        known.open += len(tickets)
        known.news.sent_since += len(tickets)
        if known.owes_since is None:
            known.owes_since = self.clock()
        for ticket in tickets:
            del self._waiting[ticket]
        return call
