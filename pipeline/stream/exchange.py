"""`SinkExchange`: other sinks for a camera that runs, ready before their first frame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

from pipeline.accounting import StreamAccount
from pipeline.delivery.publisher import Publisher
from pipeline.errors import MaskstreamError, in_one_line
from pipeline.stages import Outcome, Position, Sink, Status, StreamEnd
from pipeline.stream.checkpoint import KnownSinks
from pipeline.stream.progress import Progress
from pipeline.stream.settings import SinkPlan
from pipeline.threads import beside

Opened: TypeAlias = Mapping[str, tuple[Sink, Position]]
"""By name: the sink, and where it stands with nothing in it."""


class SinkMaker(Protocol):
    """Makes sinks for a stream that runs."""

    @property
    def first(self) -> Sequence[SinkPlan]:
        """Those there are when it begins."""

    def open(self, sinks: Sequence[SinkPlan]) -> list[tuple[str, Sink]]:
        """Open these; where it raises, nothing stays open."""

    def known(self, sinks: Sequence[SinkPlan]) -> KnownSinks:
        """What a checkpoint says of these."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why sinks cannot be opened."""

    reason: str


class SinkExchange:
    """Gets sinks ready beside the stream, which goes on with those it has until they are there.

    First it is written down that their output is to be this run's, then they are opened, then it
    is written down where they stand: killed at any moment, the stream goes on with the sinks before
    or with those after, and takes the output of neither for somebody else's.

    Args:
        maker: opens them; None: nobody can.
        publisher: takes them.
        progress: writes them down.
        account: the balance that those are told which leave.
        run: identity of the run.
        wake: called from any thread when there is something new.
    """

    def __init__(
        self,
        maker: SinkMaker | None,
        *,
        publisher: Publisher,
        progress: Progress,
        account: StreamAccount,
        run: str,
        wake: Callable[[], object],
    ) -> None:
        self._maker, self._has = maker, () if maker is None else tuple(maker.first)
        self._publisher, self._progress = publisher, progress
        self._account, self._run, self._wake = account, run, wake
        self._asked: tuple[SinkPlan, ...] | None = None
        self._steps: Generator[Refusal | None] | None = None
        self._there = False
        self._opened: Opened = {}

    @property
    def busy(self) -> bool:
        """Whether sinks are on their way."""
        return self._asked is not None and not self._there

    def prepare(self, sinks: tuple[SinkPlan, ...]) -> Refusal | bool:
        """Get on with it; whether `take` may be called, or why it never may. Waits for nobody."""
        if {s.name for s in sinks} == {s.name for s in self._has} or self._maker is None:
            self.drop()
            return True
        if sinks != self._asked:
            self.drop()
            self._asked, self._steps = sinks, self._get_ready(self._maker, sinks)
        step = None if self._steps is None else next(self._steps, True)
        if isinstance(step, Refusal):
            self.drop()
            return step
        self._there = step is True
        return self._there

    def take(self) -> None:
        """Have the next frame be the first of the new sinks; the old ones are told that it ends."""
        if (sinks := self._asked) is None or self._maker is None:
            return
        counts = self._account.snapshot()
        end = StreamEnd(self._run, Outcome(Status.COMPLETE, decoded=counts.captured), counts)
        come = [(name, sink) for name, (sink, _) in self._opened.items()]
        leave = {sink.name for sink in self._has} - {sink.name for sink in sinks}
        self._publisher.exchange(come, leave, end)
        self._progress.expect({}, self._maker.known(sinks))
        self._has, self._opened = sinks, {}
        self._asked = self._steps = None
        self._there = False

    def drop(self) -> None:
        """What was asked for is not wanted any more, or never was."""
        if self._steps is None or self._maker is None:
            return
        self._steps.close()
        self._progress.expect({}, self._maker.known(self._has))
        _close_beside(self._opened)
        self._asked = self._steps = None
        self._opened, self._there = {}, False

    def _get_ready(
        self, maker: SinkMaker, sinks: tuple[SinkPlan, ...]
    ) -> Generator[Refusal | None]:
        """Yields None while it takes its time."""
        names = {sink.name for sink in self._has}
        come = [sink for sink in sinks if sink.name not in names]
        while not all(self._publisher.has_left(sink.name) for sink in come):
            yield None
        union = maker.known([*self._has, *come])
        self._progress.expect(dict.fromkeys(sink.name for sink in come), union)
        while not self._progress.expected():
            yield None
        opening = beside(partial(_open, maker, come))  # a destination may be slow
        opening.add_done_callback(lambda _: self._wake())
        try:
            while not opening.done():
                yield None
        except GeneratorExit:
            opening.add_done_callback(lambda late: _close_beside(_result(late)))
            raise
        if (error := opening.exception()) is not None:
            known = isinstance(error, MaskstreamError | OSError)
            yield Refusal(str(error) if known else in_one_line(error))
        self._opened = opening.result()
        self._progress.expect({name: at for name, (_, at) in self._opened.items()}, union)
        while not self._progress.expected():
            yield None


def _open(maker: SinkMaker, sinks: Sequence[SinkPlan]) -> Opened:
    with ExitStack() as undo:
        opened = maker.open(sinks)
        for _, sink in opened:
            undo.callback(sink.close)
        found = {name: (sink, sink.flush()) for name, sink in opened}
        undo.pop_all()
    return found


def _result(opening: Future[Opened]) -> Opened:
    return {} if opening.exception() is not None else opening.result()


def _close_beside(opened: Opened) -> None:
    for sink, _ in opened.values():
        threading.Thread(target=sink.close, daemon=True).start()
