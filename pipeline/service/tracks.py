"""`TrackEvents`: tracks that came and went in all streams, as far as somebody asks for them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from pipeline.clock import Clock
from pipeline.errors import ConfigError
from pipeline.events.kept import TrackEvent, bound
from pipeline.runtime import RunControl
from pipeline.runtime.changes import OVER
from pipeline.service.refusals import NotFound

ASK_EVERY_S = 0.5
"""A stream is asked no more often, whoever wants to know."""


@dataclass
class _Heard:
    """What is known of one stream."""

    events: deque[TrackEvent] = field(default_factory=deque)
    there: dict[str, TrackEvent] = field(default_factory=dict)
    """Tracks that have not gone, by their life: how they came."""
    last: str | None = None
    """Key of what it told last."""
    asked_at_s: float = -1e9


class TrackEvents:
    """Of each stream the last ones, kept over the death of a worker; safe from any thread.

    Nothing is asked for while nobody looks: streams keep their own last ones themselves.

    Args:
        streams: those there are to be, by id.
        control: the run; None: there is none yet.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        streams: Callable[[], Mapping[str, object]],
        control: Callable[[], RunControl | None],
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self._streams = streams
        self._control = control
        self._clock = clock
        self._asking = threading.Lock()
        self._lock = threading.Lock()
        self._heard: dict[str, _Heard] = {}
        self._number = 0

    def news(self, source_id: str | None, after: int) -> list[TrackEvent]:
        """What happened behind the event of this number, oldest first; may wait for workers.

        Args:
            source_id: of one stream; None: in all of them.
            after: numbers count what this service has heard, of all streams, from 1.

        Raises:
            NotFound: there is no such stream.
        """
        known = self._streams()
        if source_id is not None and source_id not in known:
            raise NotFound(f"there is no stream {source_id!r}")
        asked = list(known) if source_id is None else [source_id]
        with self._asking:
            for gone in self._heard.keys() - known.keys():
                with self._lock:
                    del self._heard[gone]
            self._ask(asked)
        with self._lock:
            found = [e for i in asked if i in self._heard for e in self._heard[i].events]
        return sorted((e for e in found if e.number > after), key=lambda event: event.number)

    def crop(self, source_id: str, number: int) -> bytes | None:
        """The picture of an event, JPEG; None: it is kept no more. At once."""
        with self._lock:
            heard = self._heard.get(source_id, _Heard())
            return next((e.jpeg for e in heard.events if e.number == number), None)

    def _ask(self, source_ids: Iterable[str]) -> None:
        control = self._control()
        if control is None:
            return
        over: set[str] | None = None
        for source_id in source_ids:
            heard = self._heard.get(source_id, _Heard())
            if self._clock() - heard.asked_at_s < ASK_EVERY_S:
                continue
            if over is None:
                over = {one.source_id for one in control.counts().streams if one.state in OVER}
            try:
                told = control.happened(source_id, heard.last)
            except ConfigError:  # the run does not have it: not yet, or no more
                told = ()
            heard.asked_at_s = self._clock()
            with self._lock:
                self._heard[source_id] = heard
                self._note(heard, told, over=source_id in over)

    def _note(self, heard: _Heard, told: Iterable[TrackEvent], *, over: bool) -> None:
        for event in told:
            if heard.last is not None and _seen_by(heard.last) != _seen_by(event.key):
                self._end(heard, "lost", event.at_s)  # with the worker that saw them
            heard.last = event.key
            self._keep(heard, event)
        if over:
            self._end(heard, "stream", time.time())

    def _end(self, heard: _Heard, reason: str, at_s: float) -> None:
        """End the tracks that nobody will tell the end of."""
        for event in list(heard.there.values()):
            end = replace(event, kind="end", at_s=at_s, duration_s=None, reason=reason)
            self._keep(heard, end)

    def _keep(self, heard: _Heard, event: TrackEvent) -> None:
        if event.kind == "new":
            heard.there[event.life] = event
        else:
            heard.there.pop(event.life, None)
        self._number += 1
        heard.events.append(replace(event, number=self._number))
        bound(heard.events)


def _seen_by(key: str) -> str:
    return key.rpartition("-")[0]
