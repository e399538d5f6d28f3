"""`Courier`: brings what waits in a spool to its service, and asks again until it is taken."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path

from pipeline.delivery.client import (
    Client,
    Gathering,
    Message,
    Rejected,
    Unreachable,
    Unwelcome,
)
from pipeline.delivery.dead import DeadLetters
from pipeline.delivery.gathering import Gathered
from pipeline.delivery.packing import Packing
from pipeline.delivery.spool import MessageSpool
from pipeline.errors import SinkError
from pipeline.secrets import scrub

log = logging.getLogger(__name__)

BATCH_BYTES = 1 << 20
"""Sent in one call, about; one message may be larger."""
FIRST_PAUSE_S, LONGEST_PAUSE_S, PATIENT_S, ASKED_FOR_S = 0.2, 5.0, 30.0, 600.0
"""Of its own accord; with who does not let us in; at most where the service asks for it."""
_TOLD_EVERY = 12
"""Failures in a row from one line to the next: about once a minute."""
Settle = Callable[[str, int], None]


class Courier:
    """Sends batches in order, each until it was taken; in one thread, which does the waiting.

    Args:
        client: of the service; nobody else calls it.
        spool: where messages wait; what was taken or refused is done.
        name: of the sink, in the log.
        source_id: likewise.
        settle: told what became of how many messages: `delivered`, `refused`, `damaged`.
        packing: what messages are when they leave.
        rng: for jitter, so that many do not come back at once.
    """

    def __init__(
        self,
        client: Client,
        spool: MessageSpool,
        *,
        name: str,
        source_id: str,
        settle: Settle,
        packing: Packing | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.state = "connecting"
        """connecting, connected, or behind: what is sent is not taken."""
        self.over = False
        """Nothing more comes: what waits is waited with no longer."""
        self._client = client
        self._spool = spool
        self._name = name
        self._where = {"source_id": source_id}
        self._settle = settle
        self._packing = packing or Packing()
        self._rng = rng or random.Random()
        self._dead = DeadLetters(Path(spool.folder, "refused.jsonl"))
        self._connected = self._worked = False
        self._failures = self._damaged = self._held = 0
        self._gathered = Gathered(client) if isinstance(client, Gathering) else None

    @property
    def patience_s(self) -> float | None:
        """For how long it holds back what may get more, where nothing comes; None: it does not."""
        return None if self._gathered is None else self._gathered.patience_s

    @property
    def due(self) -> bool:
        """Whether there is something to send, as far as is known."""
        return self._spool.waiting > 0 and (self.over or self._spool.last != self._held)

    def step(self, *, quiet: bool = False) -> float:
        """Send what waits, one batch of it; how many seconds to wait before the next step.

        Args:
            quiet: nothing has come for `patience_s`.

        Raises:
            SinkError: the service was never willing to take anything.
        """
        batch = self._batch(now=quiet or self.over)
        if damaged := self._spool.damaged - self._damaged:
            self._damaged += damaged
            self._settle("damaged", damaged)
            log.error(
                "sink %s: %d messages in %s are damaged and lost",
                *(self._name, damaged, self._spool.folder),
                extra=self._where,
            )
        try:
            if not self._connected:
                self._client.connect()
                self._connected = True
            if batch:
                self._send([Message.loads(data) for _, data in batch])
        except Rejected as error:
            self._taken(batch[: error.acknowledged])
            self._put_aside(batch[error.acknowledged], str(error))
            return 0.0
        except (Unreachable, Unwelcome) as error:
            self._taken(batch[: error.acknowledged])
            return self._failed(error)
        self._taken(batch)
        self._worked |= bool(batch)
        self._answered()
        return 0.0

    def close(self) -> None:
        """Let go of the service."""
        self._client.close()

    def _batch(self, *, now: bool) -> list[tuple[int, bytes]]:
        """What is sent next; nothing where it is held back for more of its slot."""
        size = BATCH_BYTES if self._gathered is None else self._gathered.size
        waiting = self._spool.peek(records=self._client.batch, size=size)
        self._held = 0
        if self._gathered is None or not waiting:
            return waiting
        count = self._gathered.ripe(waiting, now=now)
        if not count:
            self._held = waiting[-1][0]
        return waiting[:count]

    def _send(self, waiting: list[Message]) -> None:
        """Send those before the first that is too large, which is rejected without being sent."""
        batch: list[Message] = []
        for message in waiting:
            packed = self._packing.packed(message)
            if reason := self._packing.refusal(packed, self._client):
                if batch:
                    self._client.send(batch)
                raise Rejected(reason, len(batch))
            batch.append(packed)
        self._client.send(batch)

    def _taken(self, batch: list[tuple[int, bytes]]) -> None:
        if batch:
            self._settle("delivered", self._spool.done(batch[-1][0]))

    def _put_aside(self, letter: tuple[int, bytes], reason: str) -> None:
        number, data = letter
        reason = scrub(reason)
        first = self._dead.put(Message.loads(data), reason)
        self._settle("refused", self._spool.done(number))
        if first:
            log.error(
                "sink %s: a message was refused and lies in %s now: %s",
                *(self._name, self._dead.path, reason),
                extra=self._where,
            )

    def _failed(self, error: Unreachable | Unwelcome) -> float:
        self._connected = False
        self._client.close()
        reason = scrub(str(error))
        if isinstance(error, Unwelcome) and not self._worked:
            raise SinkError(reason) from error
        if self._failures % _TOLD_EVERY == 0:
            log.warning(
                "sink %s is behind, %d messages wait in %s: %s; asked again until it takes them",
                *(self._name, self._spool.waiting, self._spool.folder, reason),
                extra=self._where,
            )
        self.state = "behind"
        due_s = min(FIRST_PAUSE_S * 2.0 ** min(self._failures, 30), LONGEST_PAUSE_S)
        if isinstance(error, Unwelcome):
            due_s = PATIENT_S
        elif error.retry_after_s:
            due_s = max(due_s, min(error.retry_after_s, ASKED_FOR_S) * 1.25)  # jitter takes some
        self._failures += 1
        return due_s * self._rng.uniform(0.75, 1.25)

    def _answered(self) -> None:
        if self._failures:
            log.warning(
                "sink %s takes messages again after %d attempts, %d wait",
                *(self._name, self._failures, self._spool.waiting),
                extra=self._where,
            )
        self._failures, self.state = 0, "connected"
