"""Connecting to a live source, again and again, with a reader thread for each connection."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

from pipeline.sources.live.arrival import Arrived
from pipeline.sources.live.news import News
from pipeline.sources.live.reader import Reader
from pipeline.sources.network.link import FoundRecording, LinkError

MAX_LEFT_BEHIND = 3
"""Readers that may hang in a read nobody waits for, before no further one is started."""


class Dialling:
    """Starts readers, and remembers those that have not come back.

    Args:
        dial: makes a connection and reads it, in the thread of its reader.
        source_id: names the threads.
        news: what is said of the source.
        stopped: set, nothing is waited for any more.
        wake: set by a reader that has something, or has ended.
    """

    def __init__(
        self,
        dial: Callable[[], Iterator[Arrived]],
        source_id: str,
        news: News,
        *,
        stopped: threading.Event,
        wake: threading.Event,
    ) -> None:
        self._dial = dial
        self._source_id = source_id
        self._news = news
        self._stopped = stopped
        self._wake = wake
        self._left: list[Reader[Arrived]] = []

    @property
    def left_behind(self) -> int:
        """Reader threads that have not come back yet."""
        return sum(reader.alive for reader in self._left)

    def connect(self) -> Reader[Arrived] | None:
        """Start a reader, once there are not too many that hang; None: stopped meanwhile."""
        said = False
        while self.left_behind >= MAX_LEFT_BEHIND:
            if not said:
                self._news.say(
                    logging.WARNING,
                    f"{MAX_LEFT_BEHIND} reads hang in the system; waiting for one to come back",
                )
                said = True
            if self._stopped.wait(0.2):
                return None
        self._wake.clear()
        return Reader(self._dial, name=f"read-{self._source_id}", wake=self._wake)

    def leave(self, reader: Reader[Arrived]) -> None:
        """Want nothing more from a reader, and remember it until it has come back."""
        reader.leave()
        self._left = [*(one for one in self._left if one.alive), reader]


def raise_of(reader: Reader[Arrived]) -> None:
    """Say why a reader has ended; nothing where it came to the end of what it read.

    Raises:
        LinkError: the connection broke off.
        FoundRecording: it is none of a camera.
    """
    error = reader.error
    if isinstance(error, FoundRecording):
        raise FoundRecording("it is a recording")
    if error is not None:  # a new one: raised again, it would hold the reader that holds it
        patient = isinstance(error, LinkError) and error.patient
        raise LinkError(str(error), patient=patient)
