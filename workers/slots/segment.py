"""`SegmentSlot`: the place of one segment worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline._version import __version__
from pipeline.clock import Clock
from pipeline.metrics.counts import WorkerCounts
from pipeline.stages import ModelInfo
from workers.lives import Headway, Limits, Owed, Restarts
from workers.logs import relay
from workers.members import Load, Member
from workers.segment import Loaded, Refused, SegmentReport
from workers.slots.handle import Asked, Remote

log = logging.getLogger(__name__)

QUIET_LOOKS = 3
"""In so many looks one after another nobody waits for a worker: then it may go."""


class SegmentSlot:
    """The place of one segment worker.

    Args:
        worker_id: names the place, through all lives.
        start: starts a worker that has its model still to load; None: no machine has room for it.
        limits: how much patience there is.
        batch_timeout_s: what a batch may take, see `lives.Progress`.
        max_batch: frames in one batch.
        wake: called, from any thread, when there is something to look at.
        clock: monotonic seconds.
        model: the number of the model it has, of those of the run.
    """

    def __init__(
        self,
        worker_id: str,
        start: Callable[[], Remote | None],
        *,
        limits: Limits,
        batch_timeout_s: float,
        max_batch: int,
        wake: Callable[[], None],
        clock: Clock,
        model: int = 0,
    ) -> None:
        self.info: ModelInfo | None = None
        """Of the model, once it has been loaded."""
        self.refused: Refused | None = None
        """Why it cannot be loaded, ever."""
        self.reason = ""
        """Why the last life ended."""
        self.restarts = Restarts(limits.segment_restarts, limits.restart_window_s, clock)
        self._start_worker = start
        self._limits = limits
        self._new_progress = partial(
            Headway, batch_timeout_s, max_batch, limits.ping_timeout_s, clock
        )
        self._wake = wake
        self._clock = clock
        self._past = WorkerCounts(worker=worker_id)
        self._report: SegmentReport | None = None
        self._first_load = Load()
        self._member = Member(worker_id, 0, model)
        self._worker: Remote | None = None
        self._state = "starting"
        self._asked: Asked | None = None
        self._alive: Asked | None = None
        self._ask_at_s = clock()
        self._quiet = 0
        self._start()

    @property
    def ready(self) -> bool:
        """Whether it takes frames."""
        return self._state == "ready"

    @property
    def given_up(self) -> bool:
        """Whether it is dead and may not come back now."""
        return self._state == "lost" and not self._may_restart

    @property
    def present(self) -> bool:
        """Whether it answers frames; one that is leaving gets no more."""
        return self._state in ("ready", "leaving")

    @property
    def resting(self) -> bool:
        """Whether there is to be no worker, and is none any more."""
        return self._state == "resting"

    @property
    def wanted(self) -> bool:
        """Whether there is to be a worker."""
        return self._state not in ("leaving", "resting")

    @property
    def member(self) -> Member:
        """The present life."""
        return self._member

    @property
    def place(self) -> tuple[Member, Load, Any]:
        """Who is there, how busy, and where to reach it."""
        load = self._report.load if self._report is not None else self._first_load
        address = None if self._worker is None else self._worker.address
        return self._member, replace(load, leaving=not self.wanted), address

    def leave(self) -> None:
        """Have the worker answer what it has, and end then."""
        if self._state == "ready":
            self._state, self._quiet = "leaving", 0
        else:
            self._rest()

    def come_back(self) -> None:
        """There is to be a worker again, a new one."""
        self._next_life()

    @property
    def pid(self) -> int | None:
        """Process of the present life, once it is there."""
        return None if self._alive is None else self._alive.answer()

    def counts(self) -> WorkerCounts:
        """Of all lives."""
        now = self._report.counts if self._report is not None else WorkerCounts()
        return replace(self._past + now, state=self._state, restarts=self.restarts.total)

    def step(self, owed: Iterable[Owed] = ()) -> None:
        """Look once; `owed` is what streams say of the present life."""
        if self._state == "resting":
            return
        if self._state == "waiting":
            self._start()
            return
        if self._state == "lost":
            if self._may_restart:
                self.restarts.note()
                self._next_life()
            return
        asked, now = self._asked, self._clock()
        if (gone := self._remote.gone) is not None:
            self.lose(gone)
        elif asked is None:
            if now >= self._ask_at_s:
                self._ask("report", self._limits.ping_timeout_s)
        elif asked.future.done():
            self._asked = None
            self._ask_at_s = now + self._limits.poll_s
            self._take(asked.future, owed)
        elif asked.overdue(now):
            self.lose(f"did not answer for {asked.patience_s:.0f} s")
        elif self._alive is not None and self._alive.overdue(now):
            self.lose(f"did not start within {self._alive.patience_s:.0f} s")

    def lose(self, reason: str) -> None:
        """End the present life."""
        self.reason = reason
        if not self.wanted:
            log.warning("%s %s as it was about to leave", self._member.worker_id, reason)
            self._rest()
            return
        self._end_life("lost")
        if self.refused is None or self._member.generation:  # else the run itself says it
            then = "another takes its place" if self._may_restart else "it is not replaced for now"
            log.warning("%s %s; %s", self._member.worker_id, reason, then)

    def ask_last(self) -> Future[Any]:
        """A last report of a worker that is ready; hand its result to `note`."""
        return self._remote.call("report")

    def note(self, report: SegmentReport) -> None:
        """Remember a report."""
        self._report = report
        relay(report.lines, worker=self._member.worker_id)

    def close(self) -> None:
        """End it for good."""
        if self._worker is not None:
            self._worker.kill()

    @property
    def _remote(self) -> Remote:
        assert self._worker is not None, "it waits for room"  # noqa: S101 - a bug of ours
        return self._worker

    @property
    def _may_restart(self) -> bool:
        return self.refused is None and self.restarts.allowed

    def _rest(self) -> None:
        """Nobody is there, and nobody is to come."""
        self._end_life("resting")

    def _end_life(self, state: str) -> None:
        self._state = state
        self._asked = None
        self.close()
        if self._report is not None:
            self._past += self._report.counts
            self._report = None

    def _next_life(self) -> None:
        self._member = replace(self._member, generation=self._member.generation + 1)
        self._start()

    def _start(self) -> None:
        self._worker = self._start_worker()
        if self._worker is None:
            self._state = "waiting"
            return
        self._state = "starting"
        self._progress = self._new_progress()
        self._member = replace(self._member, node=self._worker.node)
        alive = self._remote.call("alive")
        self._alive = Asked(alive, self._clock(), self._limits.process_timeout_s)
        self._ask("load", self._limits.start_timeout_s)

    def _ask(self, method: str, patience_s: float) -> None:
        future = self._remote.call(method)
        self._asked = Asked(future, self._clock(), patience_s)
        future.add_done_callback(lambda _: self._wake())

    def _take(self, future: Future[Any], owed: Iterable[Owed]) -> None:
        if (error := future.exception()) is not None:
            self.lose(self._remote.reason(error))
            return
        match future.result():
            case Loaded() as loaded:
                self._begin(loaded)
            case Refused() as refused:
                self.refused = refused
                self.lose(f"cannot load the model: {refused.text}")
            case SegmentReport() as report:
                self._examine(report, owed)

    def _begin(self, loaded: Loaded) -> None:
        if loaded.version != __version__:
            text = (
                f"{loaded.node} runs maskstream {loaded.version}, the driver {__version__}; "
                "install the same version everywhere"
            )
        elif self.info is not None and loaded.info != self.info:
            text = f"{loaded.node} has other weights for {loaded.info.name} than the workers before"
        else:
            self.info, self._first_load = loaded.info, loaded.load
            self._state = "ready"
            return
        self.refused = Refused(text, 2)
        self.lose(text)

    def _examine(self, report: SegmentReport, owed: Iterable[Owed]) -> None:
        self.note(report)
        if report.steps:
            self.restarts.worked()
        load, owed = report.load, list(owed)
        stuck = self._progress.note(report.steps, load.waiting, load.seconds_per_frame, owed)
        self._quiet = 0 if load.waiting or owed else self._quiet + 1
        if (reason := report.broken or stuck) is not None:
            self.lose(reason)
        elif self._state == "leaving" and self._quiet >= QUIET_LOOKS:
            self._rest()
