"""Records of a broker that hands on what comes, and cannot say what is still to come."""

from __future__ import annotations

from typing import Protocol

from pipeline.readers.contract import Records, UnderWay, Wanted, each_once, over, record_in


class Listener(Protocol):
    """A connection on which messages come."""

    def connect(self) -> None:
        """Ask for them."""

    def next(self) -> bytes | None:
        """The next one; None: there was none for a second.

        Raises:
            NotSent: the broker has gone.
        """

    @property
    def waiting(self) -> int:
        """Messages that are there already."""

    def close(self) -> None:
        """Let go of the connection."""


def heard(wanted: Wanted, listener: Listener) -> Records:
    """What comes, each once, of the source that is asked for. See `ReadBack`."""
    return each_once(_heard(wanted, listener))


def _heard(wanted: Wanted, listener: Listener) -> Records:
    under_way = UnderWay(wanted.source)
    with over(listener):
        listener.connect()
        while True:
            body = listener.next()
            if body is not None:
                record = record_in(body, wanted)
                if under_way.takes(record):
                    yield record
            elif under_way.over or not wanted.follow:
                return
            if not listener.waiting:
                yield None
