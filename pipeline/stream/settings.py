"""What a stream is told before it starts, and what it says when it is over."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from pipeline.accounting import StreamAccount, StreamCounts
from pipeline.errors import MaskstreamError, SinkError
from pipeline.stages import Outcome, Status

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What one stream needs to know; docs/configuration.md says what each means to a user."""

    min_score: float = 0.5
    """Without a tracker, detections below are not published; a tracker has its own."""
    classes: frozenset[int] | None = None
    """Class ids to follow and publish; None for all."""
    stride: int = 1
    """Take every k-th picture; comes before `max_fps`."""
    max_fps: float | None = None
    max_latency_s: float | None = None
    """Live only: a frame that would be older than this when segmented is dropped."""
    segment_every: int = 1
    """Segment every k-th frame; the tracker carries the instances between."""
    adaptive: bool = False
    """Carry frames that would be dropped as stale only because segmentation is slow."""
    window: int = 16
    """Frames in flight, at most."""
    in_flight_bytes: int = 256 << 20
    """Pixels in flight, at most; one frame always may be."""
    buffer: int = 4
    """Frames that wait to be submitted, at most."""
    checkpoint_every_s: float = 5.0
    stop_timeout_s: float = 6.0
    """How long a source may take to hear `stop`; a little more than its own `read_timeout_s`."""
    patience_s: float = 2.0
    """Live only: how long one result may wait for a busy sink that is written in this thread."""
    flush_timeout_s: float = 60.0
    """How long a sink may take to make its output durable; then it is lost."""

    def __post_init__(self) -> None:
        for name in ("window", "buffer", "stride", "segment_every"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"StreamSettings.{name} must be at least 1, got {getattr(self, name)}"
                )


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
    bug: str | None = None
    """An error nobody expected, one line; the traceback is in the log."""

    @staticmethod
    def not_started(account: StreamAccount, error: BaseException) -> End:
        """The end of a stream that could not be built, wherever it should have run.

        What is wrong with source, settings or weights is the fault of nobody here: the exit code
        is theirs. A sink that cannot be opened is lost, anything else nobody expected.
        """
        account.enter("failed")
        known = isinstance(error, MaskstreamError | OSError)
        text = (str(error) if known else f"{type(error).__name__}: {error}").partition("\n")[0]
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

    @property
    def exit_code(self) -> int:
        """0 complete or drained; 2 the source is unreadable or incomplete; 1 anything else."""
        if self.bug or self.sink_errors or self.counts.failed:
            return 1
        if self.outcome.status is Status.COMPLETE:
            return 0
        return 0 if self.stopped and self.outcome.status is Status.INCOMPLETE else 2
