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
from dataclasses import dataclass, replace
from operator import methodcaller
from typing import Any

from pipeline.catalogue import hint
from pipeline.errors import ConfigError, MaskstreamError
from pipeline.events.kept import TrackEvent
from pipeline.metrics.counts import RunCounts
from pipeline.plan import ModelPlan, RunPlan, StreamPlan
from pipeline.plan.identity import model_of
from pipeline.plan.prepare import (
    Prepared,
    prepare_added,
    prepare_changed,
    prepare_model,
    with_model,
)
from pipeline.plan.state import claim
from pipeline.runtime.changes import NotNow, change_of, changed_plan, refuse_mixture
from pipeline.runtime.control import Swapped
from pipeline.runtime.latest import Latest, Viewing
from pipeline.runtime.other_sinks import check_exchange, wait_for_sinks
from pipeline.runtime.streams import Question
from pipeline.stages import ModelInfo
from pipeline.stream import Command, Drain, End, Leave, Remove
from pipeline.stream.commands import Switch

log = logging.getLogger(__name__)

STOP = Drain("the run was told to stop")
ABORT = Leave("told to leave at once")
RUN_OVER = "the run is over"


@dataclass(frozen=True, slots=True)
class Adoption:
    """A model that was brought is that of the run from now on."""

    number: int
    info: ModelInfo


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
        self._swapping = threading.Lock()
        self._asked: deque[StreamPlan | Adoption | tuple[str, Command]] = deque()
        self._closed: str | None = None
        self._leaving: set[str] = set()
        self._told: set[Command] = set()
        self._begun: dict[str, StreamPlan] = {}
        """What each stream was opened with."""
        self._named: dict[str, dict[str, str]] = {}
        """What the sinks are called that each stream has had, by their URLs."""
        self._changes = 0
        self._models = 0
        """How many there were beside that of the start."""
        self._latest_model: ModelInfo | None = None
        """The last of them."""

    @property
    def model(self) -> ModelInfo | None:
        """See `RunControl`."""
        return self._latest_model or self._first_model

    @property
    @abstractmethod
    def _first_model(self) -> ModelInfo | None:
        """That of the start, as records name it; None: it is not loaded yet."""

    def streams(self) -> list[StreamPlan]:
        """See `RunControl`."""
        return list(self._plan.streams)

    def latest(self, source_id: str, look: Viewing | None = None) -> Latest | None:
        """See `RunControl`."""
        latest: Latest | None = self._known(source_id, methodcaller("latest", look))
        return latest

    def happened(self, source_id: str, after: str | None) -> tuple[TrackEvent, ...]:
        """See `RunControl`."""
        happened: tuple[TrackEvent, ...] | None
        happened = self._known(source_id, methodcaller("happened", after))
        return happened or ()

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
        with self._adding:  # sinks that are prepared side by side could write the same file
            with self._lock:
                self._check_known(plan.id)
                now = next(one for one in self._plan.streams if one.id == plan.id)
                named = self._named.setdefault(plan.id, {})
                named |= {sink.url: sink.name for sink in now.sinks}
                begun = self._begun.get(plan.id, now)
                changed = changed_plan(now, plan, begun=begun, named=named)
            if changed.sinks == now.sinks:
                return self._carry_out(changed)
            check_exchange(self._plan, now, changed, self.counts())
            ready = prepare_changed(self._plan, now, changed)
            number = self._carry_out(ready)
            try:
                wait_for_sinks(plan.id, number, counts=self.counts, over=lambda: self._closed)
            except MaskstreamError:
                self._carry_out(now)
                claim(self._plan, now)
                raise
            claim(self._plan, ready)
            return number

    def _carry_out(self, changed: StreamPlan) -> int:
        with self._lock:
            streams = (changed if one.id == changed.id else one for one in self._plan.streams)
            self._plan = replace(self._plan, streams=tuple(streams))
            self._changes += 1
            self.tell(changed.id, change_of(changed, number=self._changes))
            return self._changes

    def swap(self, model: ModelPlan) -> Swapped:
        """See `RunControl`."""
        if not self._swapping.acquire(blocking=False):
            raise NotNow("another model is being loaded; ask again when that is done")
        try:
            refuse_mixture(self._plan.streams, self.counts())
            ready = prepare_model(self._plan, model)
            number = self._models + 1
            info = ready.plan.model.named(self._bring(number, ready))
            try:
                return self._switch(number, ready.plan.model, info)
            except BaseException:
                self._turn_away()
                raise
        finally:
            self._swapping.release()

    def _switch(self, number: int, model: ModelPlan, info: ModelInfo) -> Swapped:
        """Have every stream there is go on with a model that is loaded, and all that will come."""
        with self._lock:
            if self._closed is not None:
                raise ConfigError(f"the model cannot be changed: {self._closed}")
            refuse_mixture(self._plan.streams, self.counts())  # one was added meanwhile, maybe
            self._plan = with_model(self._plan, model)
            self._models, self._latest_model = number, info
            self._changes += 1
            words = model_of(model)
            switch = Switch("asked for", self._changes, number, info, known_as=words)
            told = [(stream.id, switch) for stream in self._plan.streams]
            self._asked.extend([Adoption(number, info), *told])  # one step, also for the loop
        self._news.set()
        log.info("the model is %s from now on", words)
        return Swapped(switch.number, info)

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
    def counts(self) -> RunCounts:
        """See `RunControl`."""

    @abstractmethod
    def _bring(self, number: int, ready: Prepared) -> ModelInfo:
        """Load another model beside the one there is, and wait for it; any thread.

        Raises:
            MaskstreamError: it cannot be loaded, or the run ends; nothing of it is left.
        """

    @abstractmethod
    def _turn_away(self) -> None:
        """End a model that was brought and is not wanted after all; any thread."""

    @abstractmethod
    def _adopt(self, adoption: Adoption) -> None:
        """Begin streams with the model that was brought; the other one ends when all have left."""

    @abstractmethod
    def _begin(self, plan: StreamPlan) -> None:
        """Take in a stream."""

    @abstractmethod
    def _pass_on(self, source_id: str, command: Command) -> None:
        """Have a stream obey; it may be over."""

    @abstractmethod
    def _ask(self, source_id: str, question: Question) -> Any:
        """A stream that was there a moment ago; None: it does not answer. From any thread."""

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
            if isinstance(asked, Adoption):
                self._adopt(asked)
                continue
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
                self._named.pop(source_id, None)
                streams = tuple(one for one in self._plan.streams if one.id != source_id)
                self._plan = replace(self._plan, streams=streams)
                self._leaving.discard(source_id)

    def _is_over(self, *, all_over: bool) -> bool:
        """Whether the run ends here; from then on nothing is taken in any more."""
        with self._lock:
            stays = self._stay and self._closed is None
            if not all_over or stays or self._asked:
                return False
            self._closed = RUN_OVER
            return True

    def _known(self, source_id: str, question: Question) -> Any:
        """What a stream answers.

        Raises:
            ConfigError: there is no such stream.
        """
        with self._lock:
            self._check_known(source_id)
        return self._ask(source_id, question)

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
