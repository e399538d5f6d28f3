"""What the API answers with; the documentation of the API is made of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from pipeline.accounting import StreamCounts
from pipeline.metrics.counts import WorkerCounts
from pipeline.secrets import mask_url, scrub
from pipeline.service.service import StreamStatus


class Accounting(BaseModel):
    """captured = published + dropped + failed + in flight, at every moment."""

    captured: int
    published: int
    dropped: Mapping[str, int]
    failed: Mapping[str, int]
    in_flight: int
    decode_errors: int
    reconnects: int

    @staticmethod
    def of(counts: StreamCounts) -> Accounting:
        """Of a stream."""
        return Accounting(
            captured=counts.captured,
            published=counts.published,
            dropped=counts.dropped,
            failed=counts.failed,
            in_flight=counts.in_flight,
            decode_errors=counts.decode_errors,
            reconnects=counts.reconnects,
        )


class SinkAnswer(BaseModel):
    """offered = delivered + dropped + failed + queued."""

    name: str
    state: str | None = Field(description="Of a service: connecting, connected, behind or lost.")
    offered: int
    delivered: int
    queued: int
    dropped: Mapping[str, int]
    failed: Mapping[str, int]


class StreamAnswer(BaseModel):
    """One stream."""

    id: str
    url: str = Field(description="Without user name and password.")
    state: str = Field(description="`waiting`: it could not be taken in yet, `trouble` says why.")
    paused: bool
    trouble: str | None
    settings: Mapping[str, Any] = Field(description="As they were written, without secrets.")
    restarts: int = Field(description="How often its worker was replaced.")
    accounting: Accounting | None
    sinks: list[SinkAnswer]

    @staticmethod
    def of(status: StreamStatus) -> StreamAnswer:
        """What is told of a stream."""
        wanted, counts = status.wanted, status.counts
        return StreamAnswer(
            id=wanted.id,
            url=scrub(mask_url(str(wanted.spec["url"]))),
            state="waiting" if counts is None else counts.state,
            paused=wanted.paused,
            trouble=None if status.trouble is None else scrub(mask_url(status.trouble)),
            settings=masked(wanted.spec),
            restarts=status.restarts,
            accounting=None if counts is None else Accounting.of(counts),
            sinks=[] if counts is None else _sinks(counts),
        )


class WorkerAnswer(BaseModel):
    """One segment worker."""

    worker: str
    state: str
    restarts: int
    waiting: int = Field(description="Frames accepted and not answered.")
    frames: int = Field(description="Frames that went through the model.")
    batches: Mapping[int, int] = Field(description="Batches run, by the number of their frames.")
    failed: Mapping[str, int]
    busy_s: float = Field(description="Seconds spent in the model.")

    @staticmethod
    def of(counts: WorkerCounts) -> WorkerAnswer:
        """What is told of a worker."""
        return WorkerAnswer(
            worker=counts.worker,
            state=counts.state,
            restarts=counts.restarts,
            waiting=counts.waiting,
            frames=counts.frames,
            batches=counts.batches,
            failed=counts.failed,
            busy_s=counts.busy_s,
        )


class DifferenceAnswer(BaseModel):
    """What a configuration file said otherwise than before, by stream id."""

    added: list[str]
    changed: list[str]
    removed: list[str]


def masked(value: Any) -> Any:
    """Settings without secrets, however deep they lie."""
    if isinstance(value, Mapping):
        return {key: masked(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked(one) for one in value]
    return scrub(mask_url(value)) if isinstance(value, str) else value


def _sinks(counts: StreamCounts) -> list[SinkAnswer]:
    return [
        SinkAnswer(
            name=name,
            state=None if sink.service is None else sink.service.state,
            offered=sink.offered,
            delivered=sink.delivered,
            queued=sink.queued,
            dropped=sink.dropped,
            failed=sink.failed,
        )
        for name, sink in counts.sinks.items()
    ]
