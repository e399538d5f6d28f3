"""`live: true` of `synthetic://street`: the street as a camera on it would send it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from pipeline.clock import Clock
from pipeline.frames import Frame
from pipeline.sources.street.scene import StreetScene
from pipeline.sources.street.url import StreetUrl
from pipeline.stages import Outcome, Position, Status

LATE_S = 1.0
"""Who is later than this goes on from now on, and makes nothing up."""


class StreetCamera:
    """Frames of the street in real time, without an end; the `frames` of the address do not count.

    Args:
        url: see `SyntheticSource`.
        source_id: names it.
        clock: seconds, monotonic.

    Raises:
        ConfigError: the address is wrong.
    """

    live = True
    decode_errors = 0
    reconnects = 0
    skipped: Mapping[str, int] = MappingProxyType({})

    def __init__(self, url: str, *, source_id: str, clock: Clock = time.monotonic) -> None:
        self.source_id = source_id
        self._address = StreetUrl.parse(url)
        self._clock = clock
        self._stopped = threading.Event()
        self._decoded = 0

    @property
    def outcome(self) -> Outcome:
        """Complete, once it was asked to stop."""
        if self._stopped.is_set():
            return Outcome(Status.COMPLETE, decoded=self._decoded)
        return Outcome(Status.INCOMPLETE, "not read to its end")

    def stop(self) -> None:
        """End `frames`, also while it waits for the time of the next one."""
        self._stopped.set()

    def frames(self, start: Position | None = None) -> Iterator[Frame]:
        """See `Source.frames`; `start` says where to go on counting."""
        index = int(start["index"]) if start else 0
        epoch = int(start["epoch"]) if start else 0
        address = self._address
        scene = StreetScene(address.seed, address.size, address.fps)
        due_s = began_s = self._clock()
        while not self._stopped.wait(max(0.0, due_s - self._clock())):
            drawn_from_s = self._clock()
            image = scene.image(index)
            self._decoded += 1
            yield Frame(
                self.source_id,
                epoch,
                index,
                due_s - began_s,
                image,
                captured_at_s=time.time(),
                clock="arrival",
                decode_s=self._clock() - drawn_from_s,
            )
            index += 1
            due_s += 1 / address.fps
            due_s = max(due_s, self._clock() - LATE_S)
