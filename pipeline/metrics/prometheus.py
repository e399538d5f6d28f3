"""Renders what was counted in Prometheus' text format; counts nothing itself."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from pipeline._version import __version__
from pipeline.accounting import StreamCounts
from pipeline.histogram import BUCKETS_S, Histogram
from pipeline.metrics import names
from pipeline.metrics.counts import WORKER_STATES, RunCounts, WorkerCounts
from pipeline.plain import plain

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(counts: RunCounts) -> bytes:
    """The page Prometheus scrapes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(counts))
    return generate_latest(registry)


class _Snapshot(Collector):
    """One moment of a run as a collector."""

    def __init__(self, counts: RunCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Every metric of the table, in its order."""
        families = {metric: _family(metric) for metric in names.METRICS}
        for stream in self._counts.streams:
            restarts = self._counts.stream_restarts.get(stream.source_id, 0)
            _add_stream(families, stream, restarts)
        for worker in self._counts.workers:
            _add_worker(families, worker)
        _add(families, names.BUILD, (__version__,), 1)
        yield from families.values()


Families = Mapping[names.Metric, Metric]


def _family(metric: names.Metric) -> Metric:
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    if metric.kind == "gauge":
        return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    return HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)


def _add(families: Families, metric: names.Metric, labels: tuple[str, ...], value: float) -> None:
    family = families[metric]
    assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)  # noqa: S101 - the table
    family.add_metric(tuple(map(plain, labels)), value)


def _add_causes(
    families: Families, metric: names.Metric, labels: tuple[str, ...], causes: Mapping[str, int]
) -> None:
    for cause, value in causes.items():
        _add(families, metric, (*labels, cause), value)


def _add_histogram(
    families: Families,
    metric: names.Metric,
    labels: tuple[str, ...],
    *,
    bounds: tuple[float, ...],
    counts: list[int],
    total: float,
) -> None:
    """`counts` has one entry a bound and one for what is above them all, not cumulated."""
    family = families[metric]
    assert isinstance(family, HistogramMetricFamily)  # noqa: S101 - the table
    edges = [*(str(float(bound)) for bound in bounds), "+Inf"]
    cumulated = [float(count) for count in accumulate(counts)]
    family.add_metric(tuple(map(plain, labels)), list(zip(edges, cumulated, strict=True)), total)


def _add_stream(families: Families, stream: StreamCounts, restarts: int) -> None:
    source = (stream.source_id,)
    _add(families, names.CAPTURED, source, stream.captured)
    _add(families, names.PUBLISHED, source, stream.published)
    _add_causes(families, names.DROPPED, source, stream.dropped)
    _add_causes(families, names.FAILED, source, stream.failed)
    _add(families, names.IN_FLIGHT, source, stream.in_flight)
    _add(families, names.DECODE_ERRORS, source, stream.decode_errors)
    _add(families, names.RECONNECTS, source, stream.reconnects)
    _add(families, names.STREAM_UP, source, int(stream.state == "streaming"))
    _add(families, names.STREAM_STATE, (*source, stream.state), 1)
    _add(families, names.STREAM_RESTARTS, source, restarts)
    for stage, histogram in stream.stages.items():
        _add_stage(families, (*source, stage), histogram)
    for name, sink in stream.sinks.items():
        labels = (*source, name)
        _add(families, names.SINK_OFFERED, labels, sink.offered)
        _add(families, names.SINK_DELIVERED, labels, sink.delivered)
        _add(families, names.SINK_QUEUED, labels, sink.queued)
        _add_causes(families, names.SINK_DROPPED, labels, sink.dropped)
        _add_causes(families, names.SINK_FAILED, labels, sink.failed)
        if sink.service is not None:
            _add(families, names.SINK_UP, labels, int(sink.service.state == "connected"))
            _add(families, names.SINK_SPOOLED, labels, sink.service.spooled_bytes)


def _add_stage(families: Families, labels: tuple[str, ...], histogram: Histogram) -> None:
    _add_histogram(
        families,
        names.STAGE,
        labels,
        bounds=BUCKETS_S,
        counts=list(histogram.counts),
        total=histogram.sum_s,
    )


def _add_worker(families: Families, counts: WorkerCounts) -> None:
    worker = (counts.worker,)
    _add(families, names.WORKER_UP, worker, int(counts.state == "ready"))
    for state in WORKER_STATES:
        _add(families, names.WORKER_STATE, (*worker, state), int(counts.state == state))
    _add(families, names.WORKER_RESTARTS, worker, counts.restarts)
    _add(families, names.WORKER_WAITING, worker, counts.waiting)
    _add(families, names.WORKER_BUSY, worker, counts.busy_s)
    _add(families, names.WORKER_BUCKETS, worker, counts.buckets)
    if counts.gpu is not None:
        _add(families, names.GPU_USE, worker, counts.gpu.share)
        _add(families, names.GPU_MEMORY_USED, worker, counts.gpu.used_bytes)
        _add(families, names.GPU_MEMORY_TOTAL, worker, counts.gpu.total_bytes)
    _add_causes(families, names.WORKER_FAILED, worker, counts.failed)
    sizes = [0] * (len(names.BATCH_BUCKETS) + 1)
    for size, count in counts.batches.items():
        sizes[bisect_left(names.BATCH_BUCKETS, size)] += count
    _add_histogram(
        families,
        names.BATCH_SIZE,
        worker,
        bounds=names.BATCH_BUCKETS,
        counts=sizes,
        total=counts.frames,
    )
