"""`Sender`: sends the frames of all streams of a process to segment workers and takes the answers.

One thread owns the dispatcher and all that is open; everybody else only leaves it news. So there
is no lock around a decision, and a future has one place where it is resolved. How a call reaches a
worker is a function passed in: Ray is not known here.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeAlias

from pipeline.errors import SegmentFailed
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.stages import Travelled
from workers.dispatch import Call, Dispatcher
from workers.members import Load, Member
from workers.transport import Answer, Pictures, packed_pictures, unpack
from workers.waiting import Wants

Send: TypeAlias = Callable[[Call, Pictures], "Future[Answer]"]
"""Sends pictures to `call.member` and returns at once; any exception means the call is lost."""


@dataclass(frozen=True, slots=True)
class _Entry:
    stream: str
    frame: Frame
    future: Travelled


@dataclass(frozen=True, slots=True)
class _Frames:
    wants: Wants
    entries: list[_Entry]


@dataclass(frozen=True, slots=True)
class _Answered:
    call: Call
    future: Future[Answer]


@dataclass(frozen=True, slots=True)
class _Members:
    loads: Mapping[Member, Load]
    room: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Dropped:
    stream: str
    why: SegmentFailed


@dataclass(frozen=True, slots=True)
class _Over:
    why: SegmentFailed


_News: TypeAlias = _Frames | _Answered | _Members | _Dropped | _Over


class Sender:
    """Hands frames to the least loaded worker and brings back what it found.

    Args:
        send: how a call reaches a worker.
        dispatcher: decides; belongs to this object from now on.
    """

    def __init__(self, send: Send, dispatcher: Dispatcher) -> None:
        self._send = send
        self._dispatcher = dispatcher
        self._entries: dict[int, _Entry] = {}
        self._next_ticket = 0
        self._sent_at_s: dict[int, float] = {}
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._door = threading.Lock()
        self._closed: SegmentFailed | None = None
        self._owed_since: dict[Member, float] = {}
        self._thread = threading.Thread(target=self._run, name="dispatch", daemon=True)
        self._thread.start()

    def owed_for_s(self) -> dict[Member, float]:
        """How long workers that owe an answer have given none."""
        now = self._dispatcher.clock()
        return {member: now - since for member, since in self._owed_since.items()}

    def submit(self, stream: str, frames: Sequence[Frame], wants: Wants) -> list[Future[Instances]]:
        """Hand over frames; one future a frame, resolved exactly once."""
        entries = [_Entry(stream, frame, Travelled()) for frame in frames]
        for entry in entries:
            entry.future.set_running_or_notify_cancel()  # from here on nobody else may resolve it
        if not self._tell(_Frames(wants, entries)):
            assert self._closed is not None  # noqa: S101 - else it would have been told
            _fail(entries, self._closed)
        return [entry.future for entry in entries]

    def set_members(self, loads: Mapping[Member, Load], room: Mapping[str, float]) -> None:
        """Say which workers there are and how busy they are; workers left out are gone.

        Args:
            loads: of each.
            room: bytes that may be under way to and from a machine, see `StoreRoom.most`.
        """
        self._tell(_Members(loads, room))

    def drop(self, stream: str, why: SegmentFailed) -> None:
        """Fail what is open of a stream; returns at once."""
        self._tell(_Dropped(stream, why))

    def close(self) -> None:
        """Fail what is still open with cause `closed` and end the thread."""
        self._end(SegmentFailed("closed", "all streams are over"))
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5.0)

    def _tell(self, news: _News) -> bool:
        with self._door:
            if self._closed is None:
                self._news.put(news)
            return self._closed is None

    def _end(self, why: SegmentFailed) -> None:
        with self._door:
            if self._closed is None:
                self._closed = why
                self._news.put(_Over(why))

    def _run(self) -> None:
        why = SegmentFailed("dispatch_failed", "the dispatcher ended unexpectedly")
        try:
            why = self._serve()
        except Exception as error:  # noqa: BLE001 - the owner is told through the futures
            why = SegmentFailed("dispatch_failed", f"{type(error).__name__}: {error}")
        finally:
            self._end(why)
            self._owed_since = {}
            _fail(self._entries.values(), why)
            self._entries.clear()
            for news in self._left():
                if isinstance(news, _Frames):
                    _fail(news.entries, why)

    def _serve(self) -> SegmentFailed:
        """Follow the news until it says that it is over."""
        while True:
            with contextlib.suppress(queue.Empty):
                news = self._news.get(timeout=self._dispatcher.wake_in())
                for one in (news, *self._left()):
                    if isinstance(one, _Over):
                        return one.why
                    self._take(one)
            for call in self._dispatcher.calls():
                self._start(call)
            self._owed_since = self._dispatcher.owed_since()

    def _left(self) -> list[_News]:
        """News that came meanwhile, without waiting."""
        found: list[_News] = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._news.get_nowait())
        return found

    def _take(self, news: _News) -> None:
        match news:
            case _Frames(wants, entries):
                for entry in entries:
                    size = entry.frame.image.nbytes
                    self._entries[self._next_ticket] = entry
                    self._dispatcher.add(self._next_ticket, size, stream=entry.stream, wants=wants)
                    self._next_ticket += 1
            case _Members(loads, room):
                self._dispatcher.room.most = room
                self._give_up(self._dispatcher.set_members(loads), "was replaced")
            case _Dropped(stream, why):
                _fail(map(self._entries.pop, self._dispatcher.forget(stream)), why)
            case _Answered(call, future):
                self._settle(call, future)

    def _start(self, call: Call) -> None:
        entries = [self._entries[ticket] for ticket in call.tickets]
        self._sent_at_s[call.call_id] = self._dispatcher.clock()
        try:
            future = self._send(call, packed_pictures((e.stream, e.frame) for e in entries))
        except Exception as error:  # noqa: BLE001 - a worker that cannot be reached is a lost call
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda done: self._news.put(_Answered(call, done)))

    def _settle(self, call: Call, future: Future[Answer]) -> None:
        """Resolve the frames of a call that came back, or send them elsewhere."""
        sent_at_s = self._sent_at_s.pop(call.call_id)
        if (error := future.exception()) is not None:
            self._give_up(self._dispatcher.lost(call.call_id), type(error).__name__)
            return
        answer = future.result()
        if answer.outcomes is None:
            self._dispatcher.refused(call.call_id, answer.load)
            return
        if not self._dispatcher.answered(call.call_id, answer.load):
            return
        legs = _legs(sent_at_s, self._dispatcher.clock(), inside_s=answer.inside_s)
        for ticket, outcome in zip(call.tickets, unpack(answer.outcomes), strict=True):
            entry = self._entries.pop(ticket, None)
            if entry is None:
                continue  # its stream was dropped meanwhile
            entry.future.legs = legs
            if isinstance(outcome, SegmentFailed):
                entry.future.set_exception(outcome)
            else:
                entry.future.set_result(outcome)

    def _give_up(self, tickets: Sequence[int], why: str) -> None:
        detail = f"every worker that had this frame was lost; the last one {why}"
        _fail(map(self._entries.pop, tickets), SegmentFailed("worker_lost", detail))


def _legs(sent_s: float, back_s: float, *, inside_s: float) -> tuple[tuple[str, float, float], ...]:
    """There and back; clocks of other machines say nothing, so both are taken for equally long."""
    way_s = max(back_s - sent_s - inside_s, 0.0) / 2
    return (("transport", sent_s, sent_s + way_s), ("transport", back_s - way_s, back_s))


def _fail(entries: Iterable[_Entry], why: SegmentFailed) -> None:
    for entry in entries:
        if not entry.future.done():
            entry.future.set_exception(SegmentFailed(why.cause, why.detail))
