"""`RunControl`: what may be asked of a run while it goes on, whoever carries it out.

`pipeline.runner.LocalRun` and `workers.supervisor.Supervisor` promise the same. Whoever steers a
run (a service, a page) needs nothing else of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipeline.events.kept import TrackEvent
from pipeline.metrics.counts import RunCounts
from pipeline.plan import ModelPlan, StreamPlan
from pipeline.runtime.latest import Latest, Viewing
from pipeline.stages import ModelInfo
from pipeline.stream import Command

LATEST_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Swapped:
    """A run has another model."""

    number: int
    """As `RunControl.change` returns one."""
    info: ModelInfo
    """Of the new one, as records name it."""


class RunControl(Protocol):
    """A run that goes on; safe from any thread but that of its own loop's callbacks.

    What is asked for is done by the run's own loop at its next look, within some ten milliseconds,
    in the order in which it was asked. Not promised: that it is done when a method returns; look
    at `counts`. Nothing waits for a stream, and no stream waits for a method.
    """

    @property
    def healthy(self) -> bool:
        """Whether the run is watched over, and something moves or could."""

    @property
    def model(self) -> ModelInfo | None:
        """With which streams begin, as records name it; None: it is not loaded yet."""

    def streams(self) -> list[StreamPlan]:
        """The streams there are, those that are over included, in the order they came in.

        Returns at once. One that was told to go is in it until it has gone.
        """

    def counts(self) -> RunCounts:
        """Everything there is to see at this moment, of the same streams; returns at once."""

    def latest(self, source_id: str, look: Viewing | None = None) -> Latest | None:
        """The result a stream has published last; asked for by who shows it.

        A result is fetched only when it is asked for, and none but the last is kept. May wait for
        the stream's worker, `LATEST_WITHIN_S` at most, so not from the run's own loop. Not
        promised: that it is still the last when it arrives; that two calls give two results, or
        every result there was.

        Args:
            source_id: of the stream.
            look: how its picture is wanted, which is drawn and encoded where the stream runs;
                None: not at all.

        Returns:
            None: it has published nothing yet in this life of its worker, its worker does not
            answer in time, or it is over.

        Raises:
            ConfigError: there is no such stream; with the nearest word.
        """

    def happened(self, source_id: str, after: str | None) -> tuple[TrackEvent, ...]:
        """The last tracks that came and went in a stream whose plan is `watched`, oldest first.

        They are kept where the stream runs, a bounded number, of a few frames a second: nobody
        pays for a record of every frame. May wait for the stream's worker, `LATEST_WITHIN_S` at
        most. Not promised: events of a worker that has died, or does not answer in time.

        Args:
            source_id: of the stream.
            after: key of an event; only those behind it, as long as it is kept.

        Raises:
            ConfigError: there is no such stream; with the nearest word.
        """

    def add(self, plan: StreamPlan) -> None:
        """Take in one stream more, as `resolve` made it; it is prepared here.

        Looks at the disk as the start of a run does, so it may take as long as that does; two at
        a time wait for each other. Its settings are its own, its model is that of the run. The
        in-flight bytes of the others stay; it gets the share it would have among all of them.

        Raises:
            ConfigError: the id is taken, the run is draining or over, the model does not know a
                class, output exists or is written or read by another stream. The run is as it was.
            MaskstreamError: the source cannot be read, or another process writes its output.
        """

    def change(self, plan: StreamPlan) -> int:
        """Have a camera go on with other settings, from one frame on; returns at once.

        Which frame that is stands in `StreamCounts.changed`, with the number that is returned.
        Where there are new sinks among them it returns when those are open, and looks at the disk
        before as `add` does. A sink whose URL stays the same goes on as it is, whatever the others
        do; one that is left gets all up to that frame, and its end record.

        Args:
            plan: as `resolve` made it; of the stream of its id.

        Raises:
            NeedsNewStart: something differs that cannot change while it runs, see
                `pipeline.runtime.changes`.
            NotNow: it is not known in time whether new sinks can be opened.
            ConfigError: there is no such stream, a sink cannot be opened, its output exists or is
                written or read by another one. Whatever is raised, it goes on as it was.
        """

    def swap(self, model: ModelPlan) -> Swapped:
        """Have another model segment the frames of all streams, of each from one frame on.

        It is loaded and warmed up beside the old one, which works meanwhile; so this may take
        minutes. Returns when the streams were told. Each switches where nothing of it is in
        flight, as with `change`, and the old model ends when no stream has it any more.

        Args:
            model: as `resolve` made it.

        Raises:
            ConfigError: a file is being read, whose results are one model's; a sink does not say
                which model found what; a class is not known to it; another one is being loaded.
            ModelError: weights or device are unusable.
            MaskstreamError: it cannot do a picture, or its worker died over it. Whatever is
                raised, the old model is at work as before.
        """

    def tell(self, source_id: str, command: Command) -> None:
        """Have a stream obey; returns at once. A stream that is over obeys `Remove` alone.

        A stream worker that dies is told again in its next life what still holds.

        Raises:
            ConfigError: there is no such stream; with the nearest word.
        """

    def tell_all(self, command: Command) -> None:
        """Have all streams obey that there are at this moment; returns at once.

        After `Drain` and `Leave` no stream is taken in any more, and the run ends when all of its
        streams have, also if it was to stay open.
        """
