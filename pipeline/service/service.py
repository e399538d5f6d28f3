"""`Service`: makes a run be what is desired, and says what there is.

One thread compares the streams that are to be with those the run has, and tells the run what is
missing. A change is written down before it is carried out, so a service that is killed meanwhile
carries it out at its next start.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pipeline.catalogue import hint
from pipeline.clock import Clock
from pipeline.config import ServeSettings, ServiceSettings
from pipeline.errors import ConfigError
from pipeline.heap import Trimming
from pipeline.metrics.counts import RunCounts, WorkerCounts
from pipeline.plan import StreamPlan
from pipeline.runtime import Latest, RunControl, Viewing
from pipeline.runtime.changes import OVER
from pipeline.service.access.allowed import check_addresses
from pipeline.service.bottleneck import Bottleneck, bottleneck
from pipeline.service.cores import core_time
from pipeline.service.desired import Desired, DesiredStream, Difference
from pipeline.service.history import History, Standing
from pipeline.service.masking import unmasked
from pipeline.service.model import ServedModel, written
from pipeline.service.places import FirstFrame, places_of
from pipeline.service.recent import Recent, WorkerRates
from pipeline.service.reconciling import Reconciler
from pipeline.service.refusals import Conflict, NotFound
from pipeline.service.spec import changed_spec, plan_of, specs_of
from pipeline.service.status import ChangeStatus, StreamStatus
from pipeline.service.tracks import TrackEvents

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5


class Service:
    """The streams of a service; every method is safe from any thread.

    Args:
        settings: of the run; those of a single stream come with it.
        desired: what is to be; closed here.
        read: reads the configuration file anew.
        admit: told the settings of whoever may come in, once a file that was read anew is known
            to be right; raises `ConfigError` where they are not, and then nothing has changed.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        desired: Desired,
        *,
        read: Callable[[], ServiceSettings],
        admit: Callable[[ServeSettings], object] = lambda _: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.started_at = time.time()
        self.history = History()
        self._settings = settings
        self._desired = desired
        self._read = read
        self._admit = admit
        self._clock = clock
        self._changing = threading.RLock()
        self._news = threading.Event()
        self._closed = threading.Event()
        self._control: RunControl | None = None
        self._reconciler = Reconciler(self._planned, clock)
        self._recent = Recent(clock)
        self.tracks = TrackEvents(desired.streams, lambda: self._control, clock=clock)
        self._trim = Trimming()
        self._thread = threading.Thread(target=self._keep_going, name="service", daemon=True)
        self.model = ServedModel(
            desired, settings=lambda: self._settings, control=self._steered, use=self._use
        )
        desired.follow(specs_of(settings))
        self._settings = self.model.followed(settings)

    def steer(self, control: RunControl) -> None:
        """The run is there: from now on it is made what is desired."""
        self._control = control
        self._thread.start()

    def end(self) -> None:
        """Change nothing any more; whoever only looks is to go."""
        self._closed.set()
        self._news.set()

    @property
    def ending(self) -> bool:
        """Whether `end` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """End, and wait for that."""
        self.end()
        if self._thread.ident is not None:
            self._thread.join()
        self._desired.close()

    @property
    def alive(self) -> bool:
        """Whether the run is watched over and is made what is desired."""
        control = self._control
        return control is None or (control.healthy and self._thread.is_alive())

    @property
    def ready(self) -> bool:
        """Whether a model is loaded, and every stream that can be taken in is.

        Waits for no change: that may look at a disk that does not answer.
        """
        control = self._control
        if control is None or not self.alive:
            return False
        known = {*self._reconciler.carried, *self._reconciler.troubles}
        missing = set(self._desired.streams()) - known
        counts = control.counts()
        loaded = any(worker.state == "ready" for worker in counts.workers)
        return loaded and not missing

    def counts(self) -> RunCounts:
        """Of the whole run."""
        return RunCounts() if self._control is None else self._control.counts()

    def streams(self) -> list[StreamStatus]:
        """All that are to be, in the order they came in; waits for no change."""
        counts = self.counts()
        seen = {stream.source_id: stream for stream in counts.streams}
        rates = self._recent.streams(counts)
        troubles = dict(self._reconciler.troubles)
        wanted = self._desired.streams()
        return [
            StreamStatus(
                one,
                seen.get(name),
                counts.stream_restarts.get(name, 0),
                troubles[name].reason if name in troubles else None,
                rates.get(name),
            )
            for name, one in wanted.items()
        ]

    def workers(self) -> list[tuple[WorkerCounts, WorkerRates | None]]:
        """The segment workers, and what they did in the last seconds."""
        counts = self.counts()
        rates = self._recent.workers(counts)
        return [(worker, rates.get(worker.worker)) for worker in counts.workers]

    def bottleneck(self) -> Bottleneck:
        """What holds the run up, from the last seconds."""
        counts = self.counts()
        running = {one.source_id for one in counts.streams if one.state not in OVER}
        files = frozenset(one.source_id for one in counts.streams if one.every_frame)
        rates = self._recent.streams(counts)
        return bottleneck(
            {name: one for name, one in rates.items() if name in running},
            list(self._recent.workers(counts).values()),
            cores=self._recent.cores(),
            files=files,
            max_wait_s=self._settings.workers.max_wait_ms / 1000,
        )

    def wanted(self, source_id: str) -> DesiredStream:
        """What one is to be; says nothing of how it is, so it costs little.

        Raises:
            NotFound: there is no such stream; with the nearest word.
        """
        streams = self._desired.streams()
        if source_id not in streams:
            known = f"there are {', '.join(streams)}" if streams else "there is none"
            raise NotFound(f"stream {source_id!r} is not known{hint(source_id, streams)}; {known}")
        return streams[source_id]

    def stream(self, source_id: str) -> StreamStatus:
        """One of them; raises as `wanted` does."""
        self.wanted(source_id)
        return next(one for one in self.streams() if one.wanted.id == source_id)

    def add(self, spec: Mapping[str, Any]) -> StreamStatus:
        """Take in one stream more, for good.

        Args:
            spec: the keys of a source as in YAML, and its own `sinks`.

        Raises:
            Conflict: the id is taken, or the run is not there or ending.
            MaskstreamError: as of `RunControl.add`; everything is as it was.
        """
        spec = unmasked(spec, {})  # it may be that of another stream, as an answer shows it
        plan = self._planned(spec)
        check_addresses(plan.source.url, plan.source.options.reach)
        wanted = DesiredStream({**spec, "id": plan.id})
        with self._changing:
            if plan.id in self._desired.streams():
                raise Conflict(f"stream {plan.id!r} is there already; remove it, or change it")
            if any(one.id == plan.id for one in self._steered().streams()):
                raise Conflict(f"stream {plan.id!r} is being removed; ask again in a moment")
            self._reconciler.add(self._steered(), wanted, plan)
            self._desired.put(wanted)
        log.info("stream %s was added", plan.id)
        return self.stream(plan.id)

    def change(self, source_id: str, spec: Mapping[str, Any], *, whole: bool) -> ChangeStatus:
        """Give a stream other settings: while it runs, or else it is drained and begins anew.

        Args:
            source_id: of the stream.
            spec: keys of a source as in YAML, and its own `sinks`; URLs as answers show them, too.
            whole: what is not in it goes back to its default; False: it stays as it was.

        Raises:
            NotFound: there is no such stream.
            Conflict: it is a file that is being read, or the run is not there.
            MaskstreamError: the settings are wrong; everything is as it was.
        """
        values = changed_spec(self.wanted(source_id).spec, spec, whole=whole)
        source = self._planned(values).source
        check_addresses(source.url, source.options.reach)  # slow, so nobody waits for it
        with self._changing:
            before = self.wanted(source_id)
            wanted = DesiredStream(changed_spec(before.spec, spec, whole=whole), before.paused)
            plan = self._planned(wanted.spec)
            self._desired.put(wanted)  # first: killed meanwhile, it begins again with these
            try:
                done = self._reconciler.adapt(self._steered(), wanted, plan)
                if isinstance(done, str) and self._is_being_read(source_id):
                    raise Conflict(
                        f"stream {source_id!r} is a file that is being read, its settings cannot "
                        "change; remove it and add it again with other sinks"
                    )
            except BaseException:
                self._desired.put(before)
                raise
            self._reconciler.troubles.pop(source_id, None)
        self._news.set()
        if isinstance(done, str):
            return ChangeStatus(self.stream(source_id), why=done)
        place = self.places_of([source_id], done)[source_id]
        return ChangeStatus(self.stream(source_id), first_frame=place)

    def pause(self, source_id: str, *, paused: bool) -> StreamStatus:
        """Take in no frames of a stream, or go on.

        Raises:
            NotFound: there is no such stream.
        """
        with self._changing:
            self._desired.put(DesiredStream(self.wanted(source_id).spec, paused))
        self._news.set()
        return self.stream(source_id)

    def remove(self, source_id: str) -> None:
        """Drain a stream and forget it.

        Raises:
            NotFound: there is no such stream.
        """
        with self._changing:
            self.wanted(source_id)
            self._desired.remove(source_id)
            self._reconciler.troubles.pop(source_id, None)
        self._news.set()

    def reload(self) -> Difference:
        """Read the configuration file again and apply what it says otherwise of streams and model.

        Raises:
            MaskstreamError: it cannot be read or is wrong; everything goes on as it was.
        """
        read = self._read()
        settings = self.model.overlaid(read)
        for spec in specs_of(settings).values():
            plan_of(settings, spec)
        if self.model.is_changed_by(read):
            self.model.swap_to(written(read))
        self._admit(settings.serve)
        with self._changing:
            self._settings = self.model.followed(read)
            difference = self._desired.follow(specs_of(settings))
            self._reconciler.troubles.clear()
        self._news.set()
        return difference

    def places_of(self, source_ids: Iterable[str], number: int) -> dict[str, FirstFrame | None]:
        """Epoch and index of the first frame of each with a change; None: it has not come yet."""
        return places_of(source_ids, number, counts=self.counts, closed=self._closed)

    def _use(self, settings: ServiceSettings) -> None:
        with self._changing:
            self._settings = settings

    def latest(self, source_id: str, look: Viewing | None = None) -> Latest | None:
        """See `RunControl.latest`; None too while the run does not have the stream.

        Raises:
            NotFound: there is no such stream.
        """
        try:
            return None if self._control is None else self._control.latest(source_id, look)
        except ConfigError:
            self.wanted(source_id)
            return None

    def _is_being_read(self, source_id: str) -> bool:
        """Whether it is a file, and not over: its results would be of two runs."""
        files = {plan.id for plan in self._steered().streams() if not plan.source.live}
        over = {one.source_id for one in self.counts().streams if one.state in OVER}
        return source_id in files - over

    def _planned(self, spec: Mapping[str, Any]) -> StreamPlan:
        return plan_of(self._settings, spec)

    def _steered(self) -> RunControl:
        if self._control is None or self._closed.is_set():
            raise Conflict("the service is starting or ending; ask again in a moment")
        return self._control

    def _keep_going(self) -> None:
        while not self._closed.is_set():
            self._news.clear()
            try:
                with self._changing:
                    self._reconciler.step(self._steered(), self._desired.streams())
            except Exception:
                log.exception("the service could not be made what is desired")
            self._recent.note(self.counts(), lambda: core_time(os.getpid()))
            self._note_states()
            self._trim()
            self._news.wait(LOOK_EVERY_S)

    def _note_states(self) -> None:
        streams = {
            one.wanted.id: Standing(one.state, one.refused, one.trouble) for one in self.streams()
        }
        workers = {one.worker: Standing(one.state) for one, _ in self.workers()}
        self.history.look(streams, workers, at_s=time.time())
