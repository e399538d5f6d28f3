"""What the API answers with; the documentation of the API is made of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from pipeline.accounting import StreamCounts
from pipeline.histogram import Histogram
from pipeline.metrics.counts import GpuUse, WorkerCounts
from pipeline.secrets import mask_url, scrub
from pipeline.service.bottleneck import Bottleneck
from pipeline.service.masking import masked
from pipeline.service.recent import StreamRates, WorkerRates
from pipeline.service.status import ChangeStatus, StreamStatus


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


class StageAnswer(BaseModel):
    """How long frames were in one stage."""

    mean_ms: float
    p50_ms: float
    p99_ms: float

    @staticmethod
    def of(times: Histogram) -> StageAnswer | None:
        """None where there were none."""
        mean, p50, p99 = times.mean_s, times.quantile(0.5), times.quantile(0.99)
        if mean is None or p50 is None or p99 is None:
            return None
        return StageAnswer(
            mean_ms=round(1000 * mean, 2), p50_ms=round(1000 * p50, 2), p99_ms=round(1000 * p99, 2)
        )


class RatesAnswer(BaseModel):
    """What a stream did in the last seconds."""

    seconds: float
    fps_in: float = Field(description="Frames captured a second.")
    fps_out: float = Field(description="Frames published a second.")
    lost: Mapping[str, int] = Field(description="Frames dropped or failed, by cause.")
    stages: Mapping[str, StageAnswer] = Field(
        description="decode, queue, segment, track, sink, end_to_end; the last is a frame's age "
        "when it is published."
    )

    @staticmethod
    def of(rates: StreamRates) -> RatesAnswer:
        """What is told of them."""
        stages = {name: StageAnswer.of(times) for name, times in rates.stages.items()}
        return RatesAnswer(
            seconds=round(rates.seconds, 2),
            fps_in=round(rates.fps_in, 2),
            fps_out=round(rates.fps_out, 2),
            lost=rates.lost,
            stages={name: stage for name, stage in stages.items() if stage is not None},
        )


class StreamAnswer(BaseModel):
    """One stream."""

    id: str
    url: str = Field(description="Without user name and password.")
    state: str = Field(description="`waiting`: it could not be taken in yet.")
    paused: bool
    trouble: str | None = Field(
        description="Why it is not as it is to be: it could not be taken in, its camera does not "
        "answer, it failed."
    )
    settings: Mapping[str, Any] = Field(description="As they were written, without secrets.")
    restarts: int = Field(description="How often its worker was replaced.")
    accounting: Accounting | None
    rates: RatesAnswer | None
    sinks: list[SinkAnswer]

    @staticmethod
    def of(status: StreamStatus) -> StreamAnswer:
        """What is told of a stream."""
        wanted, counts = status.wanted, status.counts
        return StreamAnswer(
            id=wanted.id,
            url=scrub(mask_url(str(wanted.spec["url"]))),
            state=status.state,
            paused=wanted.paused,
            trouble=None if status.trouble is None else scrub(mask_url(status.trouble)),
            settings=masked(wanted.spec),
            restarts=status.restarts,
            accounting=None if counts is None else Accounting.of(counts),
            rates=None if status.rates is None else RatesAnswer.of(status.rates),
            sinks=[] if counts is None else _sinks(counts),
        )


class FrameAnswer(BaseModel):
    """One frame of a stream."""

    epoch: int
    frame: int


class AdjustAnswer(StreamAnswer):
    """A stream, and what became of a change of its settings."""

    running: bool = Field(
        description="It holds while the stream runs; false: the stream begins anew."
    )
    why: str | None = Field(description="Why it begins anew, and what would not make it.")
    first_frame: FrameAnswer | None = Field(
        description="From this one on it holds; null: that frame has not come yet."
    )

    @staticmethod
    def of_change(change: ChangeStatus) -> AdjustAnswer:
        """What is told of it."""
        place = change.first_frame
        return AdjustAnswer(
            **StreamAnswer.of(change.status).model_dump(),
            running=change.running,
            why=None if change.why is None else scrub(mask_url(change.why)),
            first_frame=None if place is None else FrameAnswer(epoch=place[0], frame=place[1]),
        )


class GpuAnswer(BaseModel):
    """The GPU of a worker, by whomever it is used."""

    use: float = Field(description="Share of the time in which it works.")
    used_bytes: int
    total_bytes: int

    @staticmethod
    def of(use: GpuUse) -> GpuAnswer:
        """What is told of it."""
        share = round(use.share, 3)
        return GpuAnswer(use=share, used_bytes=use.used_bytes, total_bytes=use.total_bytes)


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
    busy: float | None = Field(description="Share of the last seconds spent in the model.")
    fps: float | None = Field(description="Frames a second, lately.")
    frames_a_batch: float | None = Field(description="Lately.")
    gpu: GpuAnswer | None = Field(description="null: it is on none, or NVML does not say.")

    @staticmethod
    def of(counts: WorkerCounts, rates: WorkerRates | None) -> WorkerAnswer:
        """What is told of a worker."""
        return WorkerAnswer(
            worker=counts.worker,
            state=counts.state,
            restarts=counts.restarts,
            waiting=counts.waiting,
            frames=counts.frames,
            batches=counts.batches,
            failed=counts.failed,
            busy_s=round(counts.busy_s, 3),
            busy=None if rates is None else round(rates.busy, 3),
            fps=None if rates is None else round(rates.fps, 2),
            frames_a_batch=None if rates is None else round(rates.frames_a_batch, 2),
            gpu=None if counts.gpu is None else GpuAnswer.of(counts.gpu),
        )


class BottleneckAnswer(BaseModel):
    """What holds a run up."""

    kind: str = Field(
        description="nothing, unknown, cpu, model, sink, postprocess, decode, wait or transfer."
    )
    figure: str = Field(description="What shows it.")
    source: str | None = Field(description="The stream it is of; null: the run as a whole.")
    next_step: str

    @staticmethod
    def of(found: Bottleneck) -> BottleneckAnswer:
        """What is told of it."""
        return BottleneckAnswer(
            kind=found.kind,
            figure=found.figure,
            source=found.source,
            next_step=found.next_step,
        )


class DifferenceAnswer(BaseModel):
    """What a configuration file said otherwise than before, by stream id."""

    added: list[str]
    changed: list[str]
    removed: list[str]


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
