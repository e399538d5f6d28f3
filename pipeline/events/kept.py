"""`KeptEvents`: the last tracks that came and went, with a picture of each, for who looks."""

from __future__ import annotations

import logging
import threading
import time
from base64 import b64decode
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.clock import Clock
from pipeline.events.log import EventLog
from pipeline.events.view import Show
from pipeline.picture import Picture
from pipeline.results import FrameResult

log = logging.getLogger(__name__)

KEPT = 100
"""Events of a stream; the oldest go first."""
CROPS_BYTES = 512 * 1024
"""Of their pictures together; the oldest lose theirs first."""
LOOK_EVERY_S = 0.25
"""From one frame that is looked at to the next: people see no more, and every frame would cost."""
GONE_S = 2.0
"""A track that is away for so long has ended, as of `events:`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackEvent:
    """A track has come, or gone."""

    key: str
    """No other event has it; what stands before its last hyphen is of those who saw this one."""
    number: int
    """From 1, among those it is kept with."""
    life: str
    """What the `new` and the `end` of a track have in common."""
    kind: Literal["new", "end"]
    at_s: float
    """Unix time at which it was noticed."""
    source_id: str
    epoch: int
    frame: int
    """At which it was noticed."""
    pts_s: float
    captured_at: str | None
    """UTC, of cameras."""
    track: int
    label: str
    class_id: int
    score: float
    """The best so far, 0 to 1."""
    duration_s: float | None
    """From its first to its last frame, source time; None: that was not seen."""
    reason: str | None
    """Of an end: gone, epoch, stream (that is over) or lost (with its worker)."""
    jpeg: bytes | None
    """Its best view so far."""


class KeptEvents:
    """Follows the tracks of a stream, a few frames a second; what is kept is bounded.

    Args:
        show: makes the picture of a track's best view.
        clock: seconds, monotonic.
    """

    def __init__(self, show: Show, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._log: EventLog | None = EventLog(update_s=0, gone_s=GONE_S, show=show, masks=False)
        self._next_s = clock()
        self._name = f"{time.time():.3f}"
        self._number = 0
        self._lock = threading.Lock()
        self._events: deque[TrackEvent] = deque()

    def see(self, result: FrameResult, picture: Picture) -> None:
        """Take the next result, in the stream's own thread; whatever goes wrong, it goes on."""
        now_s = self._clock()
        if self._log is None or now_s < self._next_s:
            return
        self._next_s = now_s + LOOK_EVERY_S
        try:
            told = self._log.see(result, picture).events
        except Exception:
            self._log = None
            where = {"source_id": result.source_id}
            log.exception("events of tracks are kept no more", extra=where)
            return
        with self._lock:
            for event in told:
                self._number += 1
                self._events.append(_event(event, self._name, self._number))
            bound(self._events)

    def since(self, key: str | None) -> tuple[TrackEvent, ...]:
        """Those behind the one of this key, all where it is not there; from any thread."""
        with self._lock:
            events = tuple(self._events)
        keys = [event.key for event in events]
        return events[keys.index(key) + 1 :] if key in keys else events


def bound(events: deque[TrackEvent]) -> None:
    """Drop the oldest of too many events, and the oldest of too many pictures."""
    while len(events) > KEPT:
        events.popleft()
    over = sum(len(event.jpeg or b"") for event in events) - CROPS_BYTES
    for place, event in enumerate(events):
        if over <= 0:
            return
        if event.jpeg is not None:
            over -= len(event.jpeg)
            events[place] = replace(event, jpeg=None)


def _event(told: Mapping[str, Any], seen_by: str, number: int) -> TrackEvent:
    """Of a record of `maskstream.event/1`."""
    jpeg = (told["best"] or {}).get("jpeg")
    return TrackEvent(
        key=f"{seen_by}-{number}",
        number=number,
        life=told["id"],
        kind=told["event"],
        at_s=time.time(),
        source_id=told["source"],
        epoch=told["epoch"],
        frame=told["frame"],
        pts_s=told["pts_s"],
        captured_at=told["captured_at"],
        track=told["track"],
        label=told["label"],
        class_id=told["class_id"],
        score=told["score"],
        duration_s=told["duration_s"],
        reason=told.get("reason"),
        jpeg=None if jpeg is None else b64decode(jpeg),
    )
