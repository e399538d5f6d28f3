"""Where results go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pipeline.accounting import StreamCounts
from pipeline.contracts.source import Outcome, Position
from pipeline.picture import Picture
from pipeline.results import FrameResult


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended, as its records tell: why, and what became of every frame."""

    run: str
    """As in the results."""
    outcome: Outcome
    counts: StreamCounts
    """The balance; `counts.source_id` as in the results."""


class Sink(Protocol):
    """Somewhere results go. One object, one source, one call at a time.

    Whatever it does keeps its stream waiting unless it promises otherwise
    (`pipeline.delivery.promise`), and what it raises ends it alone: the others go on. The docstring
    of each sink says what it guarantees and what it does not.
    """

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Accept one result, in the order of the stream; may buffer.

        Blocks for no longer than its own timeout; what takes longer is said by `SinkBusy`. Not
        promised by returning: that the result is durable.

        Raises:
            SinkBusy: call again with the same result after `retry_after_s`.
            SinkError: this sink is over, the others go on.
        """

    def flush(self) -> Position:
        """Make everything written durable and say where this sink stands.

        Called every few seconds and at the end, from another thread than `write`, blocks until it
        is done; a sink that has not come back after a minute is lost. After a crash the results
        written behind the last position are written again where the source can give them again.
        """

    def resume(self, position: Position) -> None:
        """Cut back to `position`, before the first write: what is behind it comes again.

        Raises:
            ConfigError: what is there is not what `position` was taken of, or an older version or
                other options wrote it; nothing was changed.
        """

    def finish(self, end: StreamEnd) -> None:
        """The stream is over; called once, after the last `flush`, not after an abort.

        Called in the thread of the stream, which waits for it with no limit: it is for what a disk
        takes at once, such as a last record. A sink to a service leaves delivery to its outbox,
        which waits for the service as long as every frame counts, else for some seconds.

        Raises:
            SinkError: this sink is lost; what it has is as `flush` left it.
        """

    def close(self) -> None:
        """Flush and release. Safe to call twice, and without `finish` after a failure.

        Called at every end, in the thread of the stream, which waits for it with no limit: no
        longer than one `flush` takes. Where a call hung, it is closed by the thread of that call,
        once it has come back.
        """


@runtime_checkable
class ChecksResume(Protocol):
    """A sink that can say beforehand whether `resume` would do."""

    def check_resume(self, position: Position) -> None:
        """Look whether `resume` would refuse `position`, and change nothing.

        All sinks of a stream are asked before the first is cut back.

        Raises:
            ConfigError: it would.
        """


@runtime_checkable
class KeepsOwnEnd(Protocol):
    """A sink for sources whose frames do not come a second time."""

    def resume_keeping(self, position: Position) -> None:
        """Go on at the sink's own end, called instead of `resume` for cameras.

        What it wrote whole behind `position` stays; only what is torn is cut off. A sink without
        this is cut back to `position`.

        Raises:
            ConfigError: as `resume`.
        """


def check_resume(sink: Sink, position: Position) -> None:
    """Ask a sink that can say beforehand, see `ChecksResume`."""
    if isinstance(sink, ChecksResume):
        sink.check_resume(position)


def resume_keeping(sink: Sink, position: Position) -> None:
    """Let a sink go on at its own end where it can, see `KeepsOwnEnd`, and cut it back else."""
    if isinstance(sink, KeepsOwnEnd):
        sink.resume_keeping(position)
    else:
        sink.resume(position)
