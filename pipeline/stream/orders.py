"""`Orders`: what a stream was told so far, as its threads look at it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pipeline.accounting import StreamAccount
from pipeline.clock import Clock
from pipeline.errors import in_one_line
from pipeline.stages import Source
from pipeline.stream.commands import (
    Adjust,
    Command,
    Drain,
    Leave,
    Remove,
    Resume,
    Suspend,
    Switch,
)
from pipeline.stream.pausing import Pausing

log = logging.getLogger(__name__)


class Orders:
    """Takes commands from any thread at any time, and is read by the threads of the stream.

    Args:
        source: told to stop when the stream is to end.
        account: told what state the stream is in.
        wake: called when there is something new.
        patience_s: how long the source may take to hear that it is to stop.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        source: Source,
        *,
        account: StreamAccount,
        wake: Callable[[], None],
        patience_s: float,
        clock: Clock,
    ) -> None:
        self.left = threading.Event()
        """What is in flight is to be dropped."""
        self.pausing = Pausing()
        self.change: Adjust | None = None
        """Settings to go on with, until the loop has taken them."""
        self.switch: Switch | None = None
        """The model to go on with, until the loop has done so."""
        self.why: str | None = None
        """Why it is to end, once it was told to."""
        self._source = source
        self._account = account
        self._wake = wake
        self._patience_s = patience_s
        self._clock = clock
        self._begun = False
        self._stopped_at_s: float | None = None

    @property
    def stopped(self) -> bool:
        """Whether the source is to be read no further."""
        return self._stopped_at_s is not None

    @property
    def deaf(self) -> bool:
        """Whether the source was told to stop and does not."""
        at_s = self._stopped_at_s
        return at_s is not None and self._clock() - at_s > self._patience_s

    def obey(self, command: Command) -> None:
        """Do what is asked; returns at once."""
        name = self._account.source_id
        log.info(
            "%s: told to %s: %s", name, command.verb, command.reason, extra={"source_id": name}
        )
        match command:
            case Drain() | Remove():
                self._end(command.reason)
            case Leave():
                self.left.set()
                self._end(command.reason)
            case Adjust():
                with self._account.lock:
                    self.change = command
                self._wake()
            case Switch():
                with self._account.lock:
                    self.switch = command
                self._wake()
            case Suspend() | Resume():
                self._pause(isinstance(command, Suspend))

    def stop_source(self) -> None:
        """Tell the source to end; what becomes of one that cannot be told is as of a deaf one."""
        try:
            self._source.stop()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it costs nobody else
            log.warning(
                "%s: the source cannot be stopped: %s",
                *(self._account.source_id, in_one_line(error)),
                extra={"source_id": self._account.source_id},
            )

    def begin(self) -> None:
        """The first frame may come any moment now."""
        with self._account.lock:
            self._begun = True
            self._say()

    def _pause(self, pause: bool) -> None:
        with self._account.lock:  # no frame is on its way between its count and its place
            if self.stopped:
                return
            if pause:
                self.pausing.pause()
            else:
                self.pausing.resume()
            self._say()

    def _say(self) -> None:
        if self._begun and not self.stopped:
            self._account.enter("paused" if self.pausing.paused else "streaming")

    def _end(self, reason: str) -> None:
        with self._account.lock:
            if self._stopped_at_s is None:
                self._stopped_at_s, self.why = self._clock(), reason
                self._account.enter("draining")
            self.pausing.resume()  # who waits has to hear that it is over
        self.stop_source()
        self._wake()
