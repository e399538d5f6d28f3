"""`ControlledRun`: what the executors share of `RunControl`.

Any thread may ask; only the run's own loop touches streams. So the streams there are stand here,
and what is asked for waits here until the loop takes it.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from pipeline.catalogue import hint
from pipeline.errors import ConfigError
from pipeline.plan import RunPlan, StreamPlan
from pipeline.plan.prepare import prepare_added
from pipeline.runtime.changes import change_of, changed_plan
from pipeline.runtime.latest import Latest, Viewing
from pipeline.stream import Command, Drain, End, Leave, Remove

log = logging.getLogger(__name__)

STOP = Drain("the run was told to stop")
ABORT = Leave("told to leave at once")


class ControlledRun(ABC):
    """A run whose streams may change; an executor begins them, passes on, and forgets.

    Args:
        plan: of the run, prepared.
        stay: go on when all streams are over, until all are told to drain or leave.
    """

    def __init__(self, plan: RunPlan, *, stay: bool) -> None:
        self._plan = plan
        """With the streams there are now."""
        self._stay = stay
        self._news = threading.Event()
        """Set when the loop has something to look at."""
        self._lock = threading.RLock()
        self._adding = threading.Lock()
        self._asked: deque[StreamPlan | tuple[str, Command]] = deque()
        self._closed: str | None = None
        self._leaving: set[str] = set()
        self._told: set[Command] = set()
        self._begun: dict[str, StreamPlan] = {}
        """What each stream was opened with."""
        self._changes = 0

    def streams(self) -> list[StreamPlan]:
        """See `RunControl`."""
        return list(self._plan.streams)

    def latest(self, source_id: str, look: Viewing | None = None) -> Latest | None:
        """See `RunControl`."""
        with self._lock:
            self._check_known(source_id)
        return self._latest(source_id, look)

    def add(self, plan: StreamPlan) -> None:
        """See `RunControl`."""
        with self._adding:  # what is prepared side by side could write the same file
            self._check_open(plan.id)
            ready = prepare_added(self._plan, plan)
            with self._lock:
                self._check_open(plan.id)
                self._plan = replace(self._plan, streams=(*self._plan.streams, ready))
                self._asked.append(ready)
        self._news.set()

    def change(self, plan: StreamPlan) -> int:
        """See `RunControl`."""
        with self._lock:
            self._check_known(plan.id)
            now = next(one for one in self._plan.streams if one.id == plan.id)
            changed = changed_plan(now, plan, begun=self._begun.get(plan.id, now))
            streams = tuple(changed if one is now else one for one in self._plan.streams)
            self._plan = replace(self._plan, streams=streams)
            self._changes += 1
            self.tell(plan.id, change_of(changed, number=self._changes))
            return self._changes

    def tell(self, source_id: str, command: Command) -> None:
        """See `RunControl`."""
        with self._lock:
            self._check_known(source_id)
            self._asked.append((source_id, command))
        self._news.set()

    def tell_all(self, command: Command) -> None:
        """See `RunControl`."""
        with self._lock:
            self._asked.extend((stream.id, command) for stream in self._plan.streams)
            if isinstance(command, Drain | Leave):
                self._closed = self._closed or f"the run was told to {command.verb}"
        self._news.set()

    @abstractmethod
    def _begin(self, plan: StreamPlan) -> None:
        """Take in a stream."""

    @abstractmethod
    def _pass_on(self, source_id: str, command: Command) -> None:
        """Have a stream obey; it may be over."""

    @abstractmethod
    def _latest(self, source_id: str, look: Viewing | None) -> Latest | None:
        """Of a stream that was there a moment ago; from any thread."""

    @abstractmethod
    def _forget(self, source_id: str) -> None:
        """Keep nothing of a stream that is over."""

    def _obey(self, stop: threading.Event, abort: threading.Event) -> None:
        """Hear the two events of the caller, each once, then do all that was asked for."""
        if stop.is_set():
            self._tell_once(STOP)
        if abort.is_set():
            self._tell_once(ABORT)
        while self._asked:
            asked = self._asked.popleft()
            if isinstance(asked, StreamPlan):
                self._begun[asked.id] = asked
                self._begin(asked)
                continue
            source_id, command = asked
            if isinstance(command, Remove):
                self._leaving.add(source_id)
            self._pass_on(source_id, command)

    def _tell_once(self, command: Command) -> bool:
        """Tell all streams something about the whole run; False: they were told."""
        if command in self._told:
            return False
        self._told.add(command)
        self.tell_all(command)
        return True

    def _let_go(self, ends: Mapping[str, End]) -> None:
        """Forget the streams that were to go and are over."""
        for source_id in self._leaving.intersection(ends):
            end = ends[source_id]
            log.info("%s: removed: %s, %s", source_id, end.why_stopped, end.outcome.status)
            with self._lock:  # in one step: the id is free when nothing of it is left
                self._forget(source_id)
                self._begun.pop(source_id, None)
                streams = tuple(one for one in self._plan.streams if one.id != source_id)
                self._plan = replace(self._plan, streams=streams)
                self._leaving.discard(source_id)

    def _is_over(self, *, all_over: bool) -> bool:
        """Whether the run ends here; from then on nothing is taken in any more."""
        with self._lock:
            stays = self._stay and self._closed is None
            if not all_over or stays or self._asked:
                return False
            self._closed = "the run is over"
            return True

    def _check_known(self, source_id: str) -> None:
        ids = [stream.id for stream in self._plan.streams]
        if source_id not in ids:
            known = f"there are {', '.join(ids)}" if ids else "there is none"
            raise ConfigError(f"stream {source_id!r} is not known{hint(source_id, ids)}; {known}")

    def _check_open(self, source_id: str) -> None:
        with self._lock:
            if self._closed is not None:
                raise ConfigError(f"stream {source_id!r} cannot be added: {self._closed}")
            if any(stream.id == source_id for stream in self._plan.streams):
                raise ConfigError(
                    f"stream {source_id!r} cannot be added: the id is taken; remove that stream "
                    "first, or choose another id"
                )
