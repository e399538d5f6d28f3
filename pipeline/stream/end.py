"""How a stream ended, and how a run did."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from pipeline.accounting import StreamAccount, StreamCounts
from pipeline.errors import MaskstreamError, SinkError, in_one_line
from pipeline.stages import Outcome, Status

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class End:
    """How a stream ended; plain and picklable."""

    source_id: str
    outcome: Outcome
    counts: StreamCounts
    sink_errors: dict[str, str] = field(default_factory=dict)
    """Why each lost sink was lost, one line."""
    stopped: bool = False
    """Somebody asked it to stop."""
    why_stopped: str | None = None
    """The reason that was given for it."""
    bug: str | None = None
    """An error nobody expected, one line; the traceback is in the log."""

    @staticmethod
    def not_started(account: StreamAccount, error: BaseException) -> End:
        """The end of a stream that could not be built, wherever it should have run.

        What is wrong with source, settings or weights is the fault of nobody here: the exit code
        is theirs. A sink that cannot be opened is lost, anything else nobody expected.
        """
        known = isinstance(error, MaskstreamError | OSError)
        text = str(error).partition("\n")[0] if known else in_one_line(error)
        account.enter("failed", text)
        sink = isinstance(error, SinkError | OSError)
        input_error = isinstance(error, MaskstreamError) and error.exit_code == 2
        log.error(
            "%s", text, exc_info=None if known else error, extra={"source_id": account.source_id}
        )
        return End(
            source_id=account.source_id,
            outcome=Outcome(Status.FAILED, text),
            counts=account.snapshot(),
            sink_errors={"": text} if sink else {},
            bug=None if sink or input_error else text,
        )

    @staticmethod
    def not_begun(source_id: str, why: str) -> End:
        """The end of a stream that was told to end before anything of it was there."""
        outcome = Outcome(Status.INCOMPLETE, "stopped before it began")
        counts = StreamCounts(source_id, "ended")
        return End(source_id, outcome, counts, stopped=True, why_stopped=why)

    @property
    def exit_code(self) -> int:
        """0 complete or drained; 2 the source is unreadable or incomplete; 1 anything else."""
        if self.bug or self.sink_errors or self.counts.failed:
            return 1
        if self.outcome.status is Status.COMPLETE:
            return 0
        return 0 if self.stopped and self.outcome.status is Status.INCOMPLETE else 2


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended."""

    ends: tuple[End, ...]
    """One a source, in the order of the plan."""

    @property
    def exit_code(self) -> int:
        """0 complete or drained; 2 a source is unreadable or incomplete; 1 anything else."""
        codes = {end.exit_code for end in self.ends}
        return 1 if 1 in codes else max(codes, default=0)
