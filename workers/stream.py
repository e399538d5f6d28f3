"""`StreamWorker`: decode, order, track and publish, for one source or a few. A plain class.

It never imports torch: what is learned stays with the segment workers. Every stream runs in a
thread of its own and knows nothing of the cluster; this class starts them, tells them of the
segment workers there are, and reports. Its methods return at once, so a late report means that
the process itself is stuck.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from pipeline.accounting import StreamAccount, StreamCounts
from pipeline.heap import Trimming
from pipeline.plan import StreamPlan
from pipeline.runtime import Question, StreamThread
from pipeline.stages import AsyncSegmenter, ModelInfo
from pipeline.stream import Command, End, Leave, Stream
from workers.dispatch import Dispatcher
from workers.logs import Line, LogTail
from workers.members import Load, Member
from workers.remote_segmenter import RemoteSegmenter
from workers.sender import Send, Sender

Build: TypeAlias = Callable[[StreamPlan, AsyncSegmenter, StreamAccount], Stream]
"""The plan of a stream, the segmenter and the account -> the stream, not yet running."""
Connect: TypeAlias = Callable[[Callable[[Member], Any]], Send]
"""From the way to find a worker's address to what sends calls."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The segment workers there are at this moment."""

    loads: Mapping[Member, Load]
    addresses: Mapping[Member, Any]
    """How to reach each; only the sender looks inside."""
    model: int = 0
    """The number of the model with which streams begin."""
    room: Mapping[str, float] = field(default_factory=dict)
    """Bytes that one stream worker may have under way, by machine."""

    @property
    def takers(self) -> frozenset[Member]:
        """Those that take frames."""
        return frozenset(member for member, load in self.loads.items() if not load.leaving)


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What a stream worker says of itself when asked."""

    counts: tuple[StreamCounts, ...]
    ends: Mapping[str, End]
    """Streams that are over, by source id."""
    owed_for_s: Mapping[Member, float]
    """How long segment workers that owe an answer have given none."""
    pid: int
    lines: Sequence[Line] = ()
    own_bytes: int = 0
    """Memory of the process alone, see `own_memory`."""


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    thread: StreamThread
    segmenter: RemoteSegmenter


@dataclass(eq=False)
class StreamWorker:
    """Runs the streams of some sources against a pool of segment workers.

    Args:
        streams: what to run; each gets its own thread.
        build: makes a stream; may raise `MaskstreamError` for what is wrong with one source.
        connect: makes the function that sends calls to a segment worker.
        max_batch: frames in one call.
        max_wait_s: how long a frame waits for others before it is sent to a busy worker.
        spread: number of the first stream, so that processes prefer different workers.
        node: the machine it is on; segment workers there are preferred, as far as that pays.
        network_bytes_per_s: between machines.
        tail: what this process logs.
    """

    streams: Sequence[StreamPlan]
    build: Build
    connect: Connect
    max_batch: int
    max_wait_s: float
    spread: int = 0
    node: str = ""
    network_bytes_per_s: float = math.inf
    tail: LogTail = field(default_factory=LogTail)
    _trim: Trimming = field(default_factory=Trimming)
    _streams: dict[str, _Running] = field(default_factory=dict)
    _pool: Pool = field(default_factory=lambda: Pool({}, {}))
    _sender: Sender = field(init=False)
    _open: set[str] = field(default_factory=set)
    """Streams that are not over."""

    def __post_init__(self) -> None:
        dispatcher = Dispatcher(
            max_batch=self.max_batch,
            max_wait_s=self.max_wait_s,
            spread=self.spread,
            node=self.node,
            network_bytes_per_s=self.network_bytes_per_s,
        )
        send = self.connect(lambda member: self._pool.addresses[member])
        self._sender = Sender(send, dispatcher)

    def begin(self, info: ModelInfo, pool: Pool, told: Mapping[str, Sequence[Command]]) -> None:
        """Start streams.

        Args:
            info: of the model with which they begin.
            pool: the segment workers.
            told: the ids of those to start, and what each was told before.
        """
        self._pool = pool
        self._sender.set_members(pool.loads, pool.room)
        plans = [plan for plan in self.streams if plan.id in told]
        self._open.update(plan.id for plan in plans)
        for plan in plans:
            segmenter = RemoteSegmenter(
                self._sender, plan.id, info=info, model=pool.model, turn=plan.turn
            )
            make = partial(self.build, plan, segmenter)
            over = partial(self._end, plan.id, segmenter)
            thread = StreamThread(plan.id, make, told=told[plan.id], then=over)
            self._streams[plan.id] = _Running(thread, segmenter)
            thread.start()

    def report(self, pool: Pool) -> StreamReport:
        """Take note of the segment workers there are now, and say how things stand."""
        self._pool = pool
        self._trim()
        self._sender.set_members(pool.loads, pool.room)
        ends = {sid: one.thread.ended() for sid, one in self._streams.items()}
        return StreamReport(
            counts=tuple(running.thread.account.snapshot() for running in self._streams.values()),
            ends={source_id: end for source_id, end in ends.items() if end is not None},
            owed_for_s=self._sender.owed_for_s(),
            pid=os.getpid(),
            lines=self.tail.take(),
            own_bytes=own_memory(),
        )

    def ask(self, source_id: str, question: Question) -> Any:
        """What a stream answers; None: it is not here."""
        running = self._streams.get(source_id)
        return None if running is None else question(running.thread)

    def obey(self, command: Command, source_ids: Collection[str]) -> None:
        """Pass a command on to some of the streams."""
        for source_id in source_ids:
            running = self._streams[source_id]
            running.thread.obey(command)
            if isinstance(command, Leave):
                running.segmenter.give_up(command.cause, command.reason)

    def _end(self, source_id: str, segmenter: RemoteSegmenter) -> None:
        """A stream is over; in its thread."""
        segmenter.close()
        self._open.discard(source_id)
        if not self._open:
            self._sender.close()


def own_memory() -> int:
    """Bytes this process holds for itself: what it shares with others, as Ray's store, is left out.

    A limit of the address space would count Ray's maps of gigabytes, and refuse memory to
    whichever thread asks next instead of ending the process.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0  # no Linux: nobody watches
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon":
            return int(value.split()[0]) * 1024
    return 0
