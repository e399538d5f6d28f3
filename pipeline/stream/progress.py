"""When and what a stream writes down of its progress, and how it goes on from there."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.accounting import StreamAccount
from pipeline.clock import Clock
from pipeline.delivery.flushing import WAITS_S
from pipeline.delivery.publisher import Publisher
from pipeline.stages import Outcome, Position, SnapshotRefused
from pipeline.stream.beside import Beside
from pipeline.stream.capture import Mark
from pipeline.stream.checkpoint import Checkpoint, KnownSinks
from pipeline.stream.confirming import Confirming
from pipeline.stream.following import Following
from pipeline.stream.standing import AHEAD, Numbers, Start, State
from pipeline.stream.unsent import Unsent

log = logging.getLogger(__name__)

TELL_AGAIN_S = 60.0


class Progress:
    """Flushes sinks and writes checkpoints of one stream, between two frames.

    Args:
        checkpoint: None: sinks are flushed, nothing else is kept.
        every_s: seconds between two.
        publisher: flushed first.
        following: its state is part of it.
        account: its counts are part of it.
        clock: seconds, monotonic.
        stopped: waits so many seconds for the stream to be told to end; whether it was.
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
        stopped: Callable[[float], bool] = lambda _: False,
    ) -> None:
        self._checkpoint = checkpoint
        self.live = True
        """Frames do not come twice: what was published stays, and no number is used again."""
        self._every_s = every_s
        self._publisher, self._unsent = publisher, Unsent(publisher)
        self._following = following
        self._account = account
        self._clock = clock
        self._saved: State | None = None
        self._saved_at_s = clock()
        self._at: Mark | None = None
        self._tried: Mark | None = None
        self._positions: dict[str, Position | None] = dict.fromkeys(publisher.names)
        self._coming: dict[str, Position | None] = {}
        self._asked = False
        self._reserved: Numbers | None = None
        self._based = False
        self._told_at_s = -math.inf
        self._saving, self._reserving = Beside(), Beside()
        self._confirming = None
        if checkpoint is not None:
            self._confirming = Confirming(checkpoint, clock=clock, stopped=stopped, tell=self._tell)

    def load(self) -> State | None:
        """Where an earlier run stood; one of other output has at least used numbers."""
        if self._checkpoint is None:
            return None
        self.confirm()
        if (state := self._checkpoint.load(self._publisher.names)) is not None:
            return state
        numbers = self._checkpoint.used()
        return None if numbers is None else State(sinks=dict(self._positions), numbers=numbers)

    def go_on(self, state: State | None) -> Start:
        """Find out where to go on, and that it is possible; no output is touched before `cut`.

        Raises:
            ConfigError: an output does not fit to the state.
        """
        if state is not None and self.live and state.numbers is not None:
            return self._count_on(state, state.numbers)
        if state is not None and not self.live and self._restored(state):
            positions = self._fitting(state)
            self.count_again(state)
            self._at = self._tried = state.at
            return Start(after=state.at, cut=lambda: self._publisher.resume(positions))
        self._begin()
        return Start()

    def count_again(self, state: State) -> None:
        """A file's frames are counted where they were captured first; a camera counts anew."""
        self._account.restore(
            captured=state.at.captured if state.at else 0,
            published=state.published,
            dropped=state.at.thinned if state.at else {},
            failed=state.failed,
        )

    def switched(self, known_as: str) -> None:
        """From now on another model finds the instances; what is written down says so."""
        if self._checkpoint is not None:
            self._checkpoint.model = known_as

    def expect(self, coming: Mapping[str, Position | None], known: KnownSinks) -> None:
        """Sinks are about to come, or are there, or do not come after all.

        Args:
            coming: where those stand that are still to come.
            known: what is to be said of them, and of those there are.
        """
        there = self._positions | self._coming
        self._positions = {name: there.get(name) for name in self._publisher.names}
        self._coming, self._asked = dict(coming), False
        if self._checkpoint is not None:
            self._checkpoint.known = known
        self._saved_at_s = -math.inf  # it is time to write that down

    def expected(self) -> bool:
        """Whether that is written down, or cannot be, which is told; asked again and again."""
        if self._checkpoint is None:
            return True
        if not self._saving.over():
            return False
        saved = {} if self._saved is None else self._saved.sinks
        if self._asked or self._coming.items() <= saved.items():
            return True
        self._asked = True
        self.save(WAITS_S)
        return False

    @property
    def began(self) -> bool:
        """Whether a frame was settled, in this run or an earlier one."""
        return self._at is not None

    def due_in(self) -> float | None:
        """Seconds until the next checkpoint, 0 now; None while there is nothing new."""
        if self._at is self._tried:
            return None
        return max(0.0, self._saved_at_s + self._every_s - self._clock())

    def settled(self, at: Mark) -> None:
        """A frame is published, or has failed; write down where we stand if it is time."""
        self._at = at
        self.save_if_due()

    def save_if_due(self) -> None:
        """`save` when the last one is old enough; no camera waits long for a slow disk."""
        if self.due_in() == 0.0:
            self.save(WAITS_S if self.live else None)

    def save(self, wait_s: float | None = None) -> None:
        """Sinks first, then where we stand: a checkpoint claims only what is durable.

        Args:
            wait_s: how long to wait until that is written; None: as long as it takes.
        """
        if wait_s is None:
            self._saving.over(None)
        self._saved_at_s, self._tried = self._clock(), self._at
        self._positions |= self._publisher.flush()
        if self._checkpoint is None or (self._publisher.behind and not self.live):
            return  # what a sink misses is done again from the last checkpoint
        counts = self._account.snapshot()
        state = State(
            sinks=self._positions | self._coming,
            at=self._at,
            following=None if self.live else self._following.snapshot(),
            published=counts.published,
            failed=counts.failed,
            numbers=self._reserved,
            live=self.live,
        )
        if self._checkpoint.may_be_away and not self.live:
            self._unsent.add(state)
            if (ready := self._unsent.ready()) is None:
                return
            state = ready
        if wait_s is None:
            self._write(self._checkpoint.save, state)
        elif self._saving.over():  # else the disk is slow: the next one is as good
            self._saving.start(partial(self._checkpoint.save, state), partial(self._told, state))
            self._saving.over(wait_s)

    def confirm(self) -> None:
        """Before a frame is published: no other driver has taken the place of ours.

        Raises:
            SinkError: a file cannot see that for too long.
        """
        if self._confirming is not None:
            self._confirming.step(live=self.live)

    def reserve(self, at: Mark, ids: NDArray[np.int64] | None = None) -> None:
        """Before a camera's frame is published: its numbers are not used by anybody after us."""
        track = 1 if ids is None else int(ids.max(initial=0)) + 1
        needed = Numbers(at.epoch + 1, at.index + 1, track)
        if self._checkpoint is None or not self.live:
            return
        if self._reserved is not None and self._reserved.beyond(needed) == self._reserved:
            self._reserve_early(needed, self._reserved)
            return
        if self._checkpoint.may_be_away and self._based:
            self._reserve_early(needed, self._reserved or needed)  # nothing there is waited for
            return
        self._reserving.over(None)
        self._reserve(self._ahead(needed))
        if not self._based:  # from here on what sinks have is kept
            self._based = True
            self.save()

    def drained(self) -> None:
        """All is published and closed: numbers taken in advance are given back."""
        self.wait()
        if self._checkpoint is None or not self.live or self._at is None or self._saved is None:
            return
        numbers = Numbers(self._at.epoch + 1, self._at.index + 1, self._following.next_id)
        if self._write(self._checkpoint.save, replace(self._saved, numbers=numbers)):
            self._reserve(numbers)

    def ended(self, outcome: Outcome) -> None:
        """Everything is written and closed; nothing is left to resume."""
        self.wait()
        if self._checkpoint is None or self._saved is None or self._publisher.errors:
            return
        if self._checkpoint.lasting:
            newest = self._unsent.ready() or self._saved
            self._write(self._checkpoint.save, replace(newest, ended=outcome))
        else:
            self._checkpoint.discard()

    def wait(self, wait_s: float | None = None) -> None:
        """Until what is being written is on the disk, or this time has gone by."""
        self._saving.over(wait_s)
        self._reserving.over(wait_s)

    def _begin(self) -> None:
        """Note that nothing is written yet: from now on, existing output is known to be ours."""
        if self._checkpoint is not None:
            self._write(self._checkpoint.begin, State(dict(self._positions), live=self.live))

    def _count_on(self, state: State, numbers: Numbers) -> Start:
        """A camera goes on behind all numbers that may have been used."""
        positions = self._fitting(state)
        self._following.skip_ids(numbers.track)
        self._reserved = numbers
        return Start(
            counting={"epoch": numbers.epoch, "index": numbers.index},
            cut=lambda: self._publisher.resume(positions, keep=True),
        )

    def _fitting(self, state: State) -> dict[str, Position]:
        positions = {name: p for name, p in state.sinks.items() if p is not None}
        self._publisher.check(positions)
        self._positions |= state.sinks
        return positions

    def _restored(self, state: State) -> bool:
        """Whether a file goes on where it stood; one whose state is of no use starts over."""
        try:
            if state.refused is not None or state.of_camera:
                raise SnapshotRefused(state.refused or "it is of a camera")
            if state.following is not None:
                self._following.restore(state.following)
        except SnapshotRefused as error:
            log.warning(
                "%s: the checkpoint cannot be used: %s; the file is done from its beginning",
                *(self._account.source_id, error),
                extra={"source_id": self._account.source_id},
            )
            return False
        return state.at is not None

    def _ahead(self, needed: Numbers) -> Numbers:
        ahead = replace(needed, index=needed.index + AHEAD, track=needed.track + AHEAD)
        return ahead if self._reserved is None else ahead.beyond(self._reserved)

    def _reserve_early(self, needed: Numbers, reserved: Numbers) -> None:
        """Take more before they are used up: nobody waits for the disk then."""
        left = min(reserved.index - needed.index, reserved.track - needed.track)
        if left > AHEAD // 2 or not self._reserving.over() or self._checkpoint is None:
            return
        ahead, nothing_left = self._ahead(needed), left <= 0 and self._checkpoint.may_be_away

        def told(error: OSError | None) -> None:
            if error is None:
                self._reserved = ahead
            elif nothing_left:  # else it is tried again once they are needed
                self._tell("numbers cannot be reserved, a crash could use them twice", error)

        self._reserving.start(partial(self._checkpoint.reserve, ahead), told)

    def _reserve(self, numbers: Numbers) -> None:
        """Write numbers down where they can be written: in their own file, or in the state."""
        assert self._checkpoint is not None  # noqa: S101 - asked by the callers
        try:
            self._checkpoint.reserve(numbers)
        except OSError as error:
            self._saving.over(None)
            state = replace(self._saved or State(sinks=dict(self._positions)), numbers=numbers)
            try:
                self._checkpoint.save(state)
            except OSError:
                self._tell("numbers cannot be reserved, a crash could use them twice", error)
                return
        self._reserved = numbers

    def _write(self, write: Callable[[State], None], state: State) -> bool:
        try:
            write(state)
        except OSError as error:
            self._told(state, error)
            return False
        self._told(state, None)
        return True

    def _told(self, state: State, error: OSError | None) -> None:
        """What became of writing down a state."""
        if error is None:
            self._saved = state
        else:
            self._tell("no checkpoint written, a crash would cost more", error)

    def _tell(self, what: str, error: OSError) -> None:
        """Also where warnings are not shown; not for every frame."""
        if self._clock() - self._told_at_s < TELL_AGAIN_S:
            return
        self._told_at_s = self._clock()
        path = None if self._checkpoint is None else self._checkpoint.shown
        log.error(
            "%s: %s: %s",
            *(path, what, error.strerror or error),
            extra={"source_id": self._account.source_id},
        )
