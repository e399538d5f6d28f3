"""When and what a stream writes down of its progress; does nothing without a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.accounting import StreamAccount
from pipeline.clock import Clock
from pipeline.stages import Outcome, Position
from pipeline.stream.capture import Mark
from pipeline.stream.checkpoint import Checkpoint, State
from pipeline.stream.following import Following
from pipeline.stream.publishing import Publisher

log = logging.getLogger(__name__)


AHEAD = 1000
"""Numbers of frames and of tracks a camera may use before the next checkpoint is written. After a
crash so many are left out: what was published since the last checkpoint stays, and none of its
numbers is used twice."""


class Progress:
    """Writes checkpoints of one stream, between two frames.

    Args:
        checkpoint: None writes nothing.
        every_s: seconds between two.
        publisher: flushed first.
        following: its state is part of it.
        account: its counts are part of it.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        *,
        every_s: float,
        publisher: Publisher,
        following: Following,
        account: StreamAccount,
        clock: Clock,
    ) -> None:
        self._checkpoint = checkpoint
        self._every_s = every_s
        self._publisher = publisher
        self._following = following
        self._account = account
        self._clock = clock
        self._saved: State | None = None
        self._saved_at_s = clock()
        self._numbers_end: tuple[int, int] | None = None

    def load(self) -> State | None:
        """Where an earlier run of the same kind stood."""
        if self._checkpoint is None:
            return None
        return self._checkpoint.load(self._publisher.names)

    def due(self) -> bool:
        """Whether it is time for the next checkpoint."""
        return self._clock() - self._saved_at_s >= self._every_s

    def reserve(self, at: Mark, ids: NDArray[np.int64] | None) -> None:
        """Before a frame is published whose numbers a resumed run would use again: `save`."""
        if self._numbers_end is None:
            return
        index_end, ids_end = self._numbers_end
        if at.index >= index_end or (ids is not None and bool((ids >= ids_end).any())):
            self.save(at)

    def begin(self) -> None:
        """Note that nothing is written yet: from now on, existing output is known to be ours."""
        self._write(State(sinks=dict.fromkeys(self._publisher.names)))

    def save(self, at: Mark | None) -> None:
        """Sinks first, then where we stand: a checkpoint claims only what is durable.

        Args:
            at: the last frame settled; None: there was none.
        """
        if self._checkpoint is None:
            return
        self._saved_at_s = self._clock()
        following = self._following.snapshot()
        if at is not None:
            next_id = (following["tracker"] or {}).get("next_id", 0)
            self._numbers_end = at.index + AHEAD, next_id + AHEAD
        flushed: Mapping[str, Position] | None = self._publisher.flush()
        if flushed is None:
            return  # a sink is lost: what it misses has to be done again from the last checkpoint
        counts = self._account.snapshot()
        self._write(
            State(
                sinks=flushed,
                at=at,
                following=following,
                published=counts.published,
                failed=counts.failed,
            )
        )

    def ended(self, outcome: Outcome) -> None:
        """Everything is written and closed; nothing is left to resume."""
        if self._saved is not None and not self._publisher.errors:
            self._write(replace(self._saved, ended=outcome))

    def _write(self, state: State) -> None:
        if self._checkpoint is None:
            return
        try:
            self._checkpoint.save(state)
            self._saved = state
        except OSError as error:
            log.warning(
                "%s: no checkpoint written, a crash would cost more: %s",
                self._checkpoint.path,
                error,
                extra={"source_id": self._account.source_id},
            )
