"""What is to be, and what is, of one stream of a service."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.accounting import StreamCounts
from pipeline.service.desired import DesiredStream
from pipeline.service.recent import StreamRates


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a stream that is to be there is not."""

    reason: str
    tries: int
    again_at_s: float
    """By the service's clock."""


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream as it is to be and as it is."""

    wanted: DesiredStream
    counts: StreamCounts | None
    """None: the run does not have it yet."""
    restarts: int
    refused: str | None
    """Why it could not be taken in, or be changed as it is to be."""
    rates: StreamRates | None = None
    """Of the last seconds; None: it was not there before."""

    @property
    def trouble(self) -> str | None:
        """Why it is not as it is to be; None: it is."""
        return self.refused or (None if self.counts is None else self.counts.why)

    @property
    def state(self) -> str:
        """Of the stream in the run; `waiting` while the run does not have it."""
        return "waiting" if self.counts is None else self.counts.state


@dataclass(frozen=True, slots=True)
class ChangeStatus:
    """What became of a change."""

    status: StreamStatus
    first_frame: tuple[int, int] | None = None
    """Epoch and index of the first frame with it; None: it has not come yet."""
    why: str | None = None
    """Why the stream is drained and begins anew; None: it holds while the stream runs."""

    @property
    def running(self) -> bool:
        """Whether it holds while the stream runs."""
        return self.why is None
