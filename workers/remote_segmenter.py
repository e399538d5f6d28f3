"""`RemoteSegmenter`: the segmenter of one stream, its model in other processes.

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

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SegmentFailed
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.stages import ModelInfo, Travelled
from workers.dispatch import Call, Dispatcher, Load, Member
from workers.transport import Answer, pack_images, unpack

Send: TypeAlias = Callable[[Call, list[NDArray[np.uint8]]], "Future[Answer]"]
"""Sends pictures to `call.member` and returns at once; any exception means the call is lost."""


@dataclass(frozen=True, slots=True)
class _Entry:
    frame: Frame
    future: Travelled


@dataclass(frozen=True, slots=True)
class _Frames:
    entries: list[_Entry]


@dataclass(frozen=True, slots=True)
class _Answered:
    call: Call
    future: Future[Answer]


@dataclass(frozen=True, slots=True)
class _Members:
    loads: Mapping[Member, Load]


@dataclass(frozen=True, slots=True)
class _Switched:
    model: int


@dataclass(frozen=True, slots=True)
class _Over:
    cause: str
    detail: str


_News: TypeAlias = _Frames | _Answered | _Members | _Switched | _Over


class RemoteSegmenter:
    """Hands frames to the least loaded worker and brings back what it found.

    Args:
        send: how a call reaches a worker.
        info: the model the workers run.
        dispatcher: decides; belongs to this object from now on.
        model: the number of that model in the run; only workers that have it get frames.
    """

    def __init__(
        self, send: Send, *, info: ModelInfo, dispatcher: Dispatcher, model: int = 0
    ) -> None:
        self.info = info
        self.model = model
        self._dispatched_to = model
        self._loads: Mapping[Member, Load] = {}
        self._send = send
        self._dispatcher = dispatcher
        self._entries: dict[int, _Entry] = {}
        self._next_ticket = 0
        self._sent_at_s: dict[int, float] = {}
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._door = threading.Lock()
        self._closed: _Over | None = None
        self._owed_since: dict[Member, float] = {}
        self._thread = threading.Thread(target=self._run, name="dispatch", daemon=True)
        self._thread.start()

    def owed_for_s(self) -> dict[Member, float]:
        """How long workers that owe this stream an answer have given it none."""
        now = self._dispatcher.clock()
        return {member: now - since for member, since in self._owed_since.items()}

    def submit(self, frames: Sequence[Frame]) -> list[Future[Instances]]:
        """Hand over frames; one future a frame, resolved exactly once."""
        entries = [_Entry(frame, Travelled()) for frame in frames]
        for entry in entries:
            entry.future.set_running_or_notify_cancel()  # from here on nobody else may resolve it
        with self._door:
            if self._closed is None:
                self._news.put(_Frames(entries))
                return [entry.future for entry in entries]
        _fail(entries, self._closed)
        return [entry.future for entry in entries]

    def set_members(self, loads: Mapping[Member, Load]) -> None:
        """Say which workers there are and how busy they are; workers left out are gone."""
        self._news.put(_Members(loads))

    def switch(self, model: int, info: ModelInfo) -> None:
        """See `pipeline.stages.Switchable`."""
        self.model, self.info = model, info
        self._news.put(_Switched(model))

    def give_up(self, cause: str, detail: str) -> None:
        """Fail what is open and all that will come; returns at once."""
        self._end(_Over(cause, detail))

    def close(self) -> None:
        """Fail what is still open with cause `closed` and end the thread."""
        self._end(_Over("closed", "the stream is over"))
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5.0)

    def _end(self, over: _Over) -> None:
        with self._door:
            if self._closed is None:
                self._closed = over
                self._news.put(over)

    def _run(self) -> None:
        over = _Over("dispatch_failed", "the dispatcher ended unexpectedly")
        try:
            over = self._serve()
        except Exception as error:  # noqa: BLE001 - the owner is told through the futures
            over = _Over("dispatch_failed", f"{type(error).__name__}: {error}")
        finally:
            self._end(over)
            _fail(self._entries.values(), over)
            self._entries.clear()
            for news in self._left():
                if isinstance(news, _Frames):
                    _fail(news.entries, over)

    def _serve(self) -> _Over:
        """Follow the news until it says that it is over."""
        while True:
            with contextlib.suppress(queue.Empty):
                news = self._news.get(timeout=self._dispatcher.wake_in())
                if isinstance(news, _Over):
                    return news
                self._take(news)
                for more in self._left():
                    if isinstance(more, _Over):
                        return more
                    self._take(more)
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
            case _Frames(entries):
                for entry in entries:
                    self._entries[self._next_ticket] = entry
                    self._dispatcher.add(self._next_ticket, entry.frame.image.nbytes)
                    self._next_ticket += 1
            case _Members(loads):
                self._loads = loads
                self._follow_members()
            case _Switched(model):
                self._dispatched_to = model
                self._follow_members()
            case _Answered(call, future):
                self._settle(call, future)

    def _follow_members(self) -> None:
        loads = {m: load for m, load in self._loads.items() if m.model == self._dispatched_to}
        self._give_up_tickets(self._dispatcher.set_members(loads), "was replaced")

    def _start(self, call: Call) -> None:
        images = pack_images([self._entries[ticket].frame for ticket in call.tickets])
        self._sent_at_s[call.call_id] = self._dispatcher.clock()
        try:
            future = self._send(call, images)
        except Exception as error:  # noqa: BLE001 - a worker that cannot be reached is a lost call
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda done: self._news.put(_Answered(call, done)))

    def _settle(self, call: Call, future: Future[Answer]) -> None:
        """Resolve the frames of a call that came back, or send them elsewhere."""
        sent_at_s = self._sent_at_s.pop(call.call_id)
        if (error := future.exception()) is not None:
            self._give_up_tickets(self._dispatcher.lost(call.call_id), type(error).__name__)
            return
        answer = future.result()
        if answer.outcomes is None:
            self._dispatcher.refused(call.call_id, answer.load)
            return
        if not self._dispatcher.answered(call.call_id, answer.load):
            return
        legs = _legs(sent_at_s, self._dispatcher.clock(), inside_s=answer.inside_s)
        for ticket, outcome in zip(call.tickets, unpack(answer.outcomes), strict=True):
            entry = self._entries.pop(ticket)
            entry.future.legs = legs
            if isinstance(outcome, SegmentFailed):
                entry.future.set_exception(outcome)
            else:
                entry.future.set_result(outcome)

    def _give_up_tickets(self, tickets: Sequence[int], why: str) -> None:
        for ticket in tickets:
            detail = f"every worker that had this frame was lost; the last one {why}"
            self._entries.pop(ticket).future.set_exception(SegmentFailed("worker_lost", detail))


def _legs(sent_s: float, back_s: float, *, inside_s: float) -> tuple[tuple[str, float, float], ...]:
    """There and back; clocks of other machines say nothing, so both are taken for equally long."""
    way_s = max(back_s - sent_s - inside_s, 0.0) / 2
    return (("transport", sent_s, sent_s + way_s), ("transport", back_s - way_s, back_s))


def _fail(entries: Iterable[_Entry], over: _Over) -> None:
    for entry in entries:
        if not entry.future.done():
            entry.future.set_exception(SegmentFailed(over.cause, over.detail))
