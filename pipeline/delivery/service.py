"""`ServiceSink`: results as messages, durable in a spool, for an outbox to bring to a service."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Protocol, runtime_checkable

from pipeline.accounting import SinkState
from pipeline.buffers import WhenFull
from pipeline.delivery.client import Client, Message
from pipeline.delivery.gathering import END, slot_of
from pipeline.delivery.packing import Packing
from pipeline.delivery.promise import Promise
from pipeline.delivery.spool import DiskFull, MessageSpool, NoRoom
from pipeline.delivery.teller import Teller
from pipeline.errors import SinkError
from pipeline.formats import jsonl
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Position, Status, StreamEnd

log = logging.getLogger(__name__)

CALL_S = 15.0
"""How long one call of a client may take, with all it waits for."""


class ServiceSink:
    """At least once and in order; what comes twice has the same key.

    A result counts as written once it lies in the spool, which a crash of this process does not
    touch; `flush` makes it survive a power cut. So a checkpoint claims what the service has taken
    or the spool holds, and a service that is away keeps no checkpoint waiting. For a file `resume`
    cuts the spool back; what was sent from behind the position is sent again. What waits from an
    earlier run goes first.

    Args:
        client: of the service; used by the outbox alone.
        spool: closed here.
        teller: makes records of results.
        slice_s: what goes together is of one such period of the source's own time; None: each
            record goes for itself.
        packing: what messages are when they leave.
    """

    promise = Promise(may_wait_s=CALL_S)

    def __init__(
        self,
        client: Client,
        spool: MessageSpool,
        teller: Teller,
        *,
        slice_s: int | None = None,
        packing: Packing | None = None,
    ) -> None:
        self.client = client
        self.spool = spool
        self.packing = packing or Packing()
        self.when_full = WhenFull.DROP_OLDEST
        self.on_drop: Callable[[int], None] = lambda _: None
        """Told how many messages were given up to make room."""
        self._teller, self._slice_s = teller, slice_s
        self._telling = threading.Lock()
        self._complete = False
        self._disk_full = False

    @property
    def service(self) -> ServiceSink:
        """Itself: see `Forwarding`."""
        return self

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Put its records into the spool; the oldest go where there is no room and they may.

        Raises:
            SinkError: there can be no record of this result.
        """
        with self._telling:
            try:
                told = self._teller.tell(result, picture)
            except ValueError as error:
                raise SinkError(f"events are of tracks and {error}; choose a tracker") from error
            slot = "" if self._slice_s is None else slot_of(result, self._slice_s)
            for telling in told:
                self._put(Message(result.source_id, telling.key, telling.body, slot))

    def flush(self) -> Position:
        """Wait until the spool is on the disk; results may be written meanwhile."""
        with self._telling:
            last, waiting, state = self.spool.last, self.spool.waiting, self._teller.state()
        self.spool.sync()
        return {"accepted": last, "waiting": waiting, **state}

    def resume(self, position: Position) -> None:
        """Take back what was not sent from behind `position`."""
        self._tell_missing(position)
        self._teller.restore(position)
        self.spool.cut_back(position["accepted"])

    def resume_keeping(self, position: Position) -> None:
        """All that waits is sent."""
        self._tell_missing(position)
        self._teller.restore(position)

    def _tell_missing(self, position: Position) -> None:
        if self.spool.last < position["accepted"] and position["waiting"]:
            log.error(
                "%s: up to %d messages that waited there are gone; nobody but this run may remove "
                "them, or they are not sent",
                *(self.spool.folder, position["waiting"]),
            )

    def finish(self, end: StreamEnd) -> None:
        """The end record is a message, too; without room for it the next run tells how it ended.

        Raises:
            NoRoom: there is none, and of a file that is complete no next run would tell it.
        """
        complete = end.outcome.status is Status.COMPLETE
        source = end.counts.source_id
        slot = "" if self._slice_s is None else f"{end.run}/{END}"
        with nullcontext() if complete else suppress(NoRoom):
            for telling in self._teller.end():
                self._put(Message(source, telling.key, telling.body, slot))
            self._put(Message(source, f"{end.run}:{source}:end", jsonl.dumps(end), slot))
        self._complete = complete

    def close(self) -> None:
        """Release the spool; where nothing is left of a complete file, nothing stays of it."""
        refused = (self.spool.folder / "refused.jsonl").exists()
        if self._complete and not self.spool.waiting and not refused:
            self.spool.remove()
        else:
            self.spool.close()

    def _put(self, message: Message) -> None:
        while True:
            try:
                self.spool.put(message.dumps())
            except NoRoom:
                dropped = self.spool.drop_oldest() if self._drops else 0
                if not dropped:
                    raise
                self.on_drop(dropped)
            except DiskFull:
                self._tell_of_disk(full=True)
                raise
            else:
                self._tell_of_disk(full=False)
                return

    def _tell_of_disk(self, *, full: bool) -> None:
        """Say once that it is full, and once that it is not any more."""
        if full and not self._disk_full:
            what = "results are left out" if self._drops else "the stream waits"
            log.error("%s: the disk is full; %s until there is room", self.spool.folder, what)
        elif self._disk_full and not full:
            log.warning("%s: there is room on the disk again", self.spool.folder)
        self._disk_full = full

    @property
    def _drops(self) -> bool:
        return self.when_full is WhenFull.DROP_OLDEST


@runtime_checkable
class Forwarding(Protocol):
    """A sink, or what stands before one, whose results go on to a service."""

    @property
    def service(self) -> ServiceSink | None:
        """The sink that does; None: what stands behind does not."""


def service_of(sink: object) -> ServiceSink | None:
    """The sink that forwards results to a service, whatever stands before it."""
    return sink.service if isinstance(sink, Forwarding) else None


@runtime_checkable
class Watched(Protocol):
    """A sink that sends somewhere, or what stands before one."""

    @property
    def state(self) -> Callable[[], SinkState] | None:
        """To ask how it goes, from any thread, answered at once; None: nobody is to be asked."""


def state_of(sink: object) -> Callable[[], SinkState] | None:
    """Whom to ask how it goes with a sink, whatever stands before it."""
    return sink.state if isinstance(sink, Watched) else None
