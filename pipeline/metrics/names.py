"""Every metric in one table: name, kind, labels, help. Names are public API.

`docs/metrics.md` is made from this table. Labels hold only configured names, causes from this
project's own short list and worker names, never an address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table."""

    name: str
    """As Prometheus shows it, `_total` included."""
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    """One sentence, without a full stop at its end."""


CAPTURED = Metric(
    "maskstream_frames_captured_total",
    "counter",
    ("source_id",),
    "Frames out of the decoder, and packets that were chosen not to be decoded",
)
PUBLISHED = Metric(
    "maskstream_frames_published_total",
    "counter",
    ("source_id",),
    "Frames whose result was offered to every sink",
)
DROPPED = Metric(
    "maskstream_frames_dropped_total",
    "counter",
    ("source_id", "cause"),
    "Frames left out on purpose: stride, max_fps, buffer_full, stale, paused, stopped, "
    "aborted, worker_died",
)
FAILED = Metric(
    "maskstream_frames_failed_total",
    "counter",
    ("source_id", "cause"),
    "Frames that could not be segmented",
)
IN_FLIGHT = Metric(
    "maskstream_frames_in_flight",
    "gauge",
    ("source_id",),
    "Frames captured and not yet published, dropped or failed",
)
STAGE = Metric(
    "maskstream_stage_seconds",
    "histogram",
    ("source_id", "stage"),
    "Time a frame spent in a stage: decode, queue, segment, track, sink, end_to_end",
)
DECODE_ERRORS = Metric(
    "maskstream_decode_errors_total",
    "counter",
    ("source_id",),
    "Packets that could not be decoded; they stand outside the balance of frames",
)
RECONNECTS = Metric(
    "maskstream_reconnects_total",
    "counter",
    ("source_id",),
    "Outages of a source that were survived",
)
STREAM_UP = Metric(
    "maskstream_stream_up",
    "gauge",
    ("source_id",),
    "1 while frames come from the source, 0 before, after, and during an outage or a pause",
)
STREAM_STATE = Metric(
    "maskstream_stream_state",
    "gauge",
    ("source_id", "state"),
    "1 for the state the stream is in",
)
STREAM_RESTARTS = Metric(
    "maskstream_stream_restarts_total",
    "counter",
    ("source_id",),
    "Replacements of the worker of a stream",
)
SINK_OFFERED = Metric(
    "maskstream_sink_offered_total",
    "counter",
    ("source_id", "sink"),
    "Results offered to a sink",
)
SINK_DELIVERED = Metric(
    "maskstream_sink_delivered_total",
    "counter",
    ("source_id", "sink"),
    "Results a sink accepted",
)
SINK_DROPPED = Metric(
    "maskstream_sink_dropped_total",
    "counter",
    ("source_id", "sink", "cause"),
    "Results left out for one sink: busy, sink_full, disk_full, sink_lost, aborted, worker_died",
)
SINK_FAILED = Metric(
    "maskstream_sink_failed_total",
    "counter",
    ("source_id", "sink", "cause"),
    "Results a sink could not take; of services refused, damaged",
)
SINK_QUEUED = Metric(
    "maskstream_sink_queued",
    "gauge",
    ("source_id", "sink"),
    "Results on their way to a sink",
)
SINK_UP = Metric(
    "maskstream_sink_up",
    "gauge",
    ("source_id", "sink"),
    "1 while a service takes what a sink sends it, 0 while it is away; of services only",
)
SINK_SPOOLED = Metric(
    "maskstream_sink_spooled_bytes",
    "gauge",
    ("source_id", "sink"),
    "What waits on the disk for a service",
)
WORKER_UP = Metric(
    "maskstream_worker_up", "gauge", ("worker",), "1 while the segment worker takes frames"
)
WORKER_STATE = Metric(
    "maskstream_worker_state",
    "gauge",
    ("worker", "state"),
    "1 for the state the segment worker is in: starting, ready, lost",
)
WORKER_RESTARTS = Metric(
    "maskstream_worker_restarts_total",
    "counter",
    ("worker",),
    "Replacements of a segment worker",
)
WORKER_WAITING = Metric(
    "maskstream_worker_waiting_frames",
    "gauge",
    ("worker",),
    "Frames a segment worker has accepted and not answered",
)
WORKER_FAILED = Metric(
    "maskstream_worker_failed_total",
    "counter",
    ("worker", "cause"),
    "Frames a segment worker could not segment",
)
WORKER_BUSY = Metric(
    "maskstream_worker_busy_seconds_total",
    "counter",
    ("worker",),
    "Time a segment worker spent in the model",
)
BATCH_SIZE = Metric(
    "maskstream_batch_size",
    "histogram",
    ("worker",),
    "Frames in the batches a segment worker ran",
)
WORKER_BUCKETS = Metric(
    "maskstream_worker_buckets",
    "gauge",
    ("worker",),
    "Padded picture sizes the model of a segment worker has met; the first batch of each is slow",
)
GPU_USE = Metric(
    "maskstream_worker_gpu_use_ratio",
    "gauge",
    ("worker",),
    "Share of the time in which the GPU of a segment worker works, for whomever; where NVML says",
)
GPU_MEMORY_USED = Metric(
    "maskstream_worker_gpu_memory_used_bytes",
    "gauge",
    ("worker",),
    "Memory in use on the GPU of a segment worker, by whomever; where NVML says",
)
GPU_MEMORY_TOTAL = Metric(
    "maskstream_worker_gpu_memory_bytes",
    "gauge",
    ("worker",),
    "Memory of the GPU of a segment worker; where NVML says",
)
BUILD = Metric("maskstream_build_info", "gauge", ("version",), "Always 1; says which version runs")

METRICS = tuple(one for one in globals().values() if isinstance(one, Metric))
"""The table, in the order above."""

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper bounds of the batch size histogram."""

_HEAD = """# Metrics

With `metrics: {port: 9108}` or `--metrics-port 9108` the driver answers on that port, on a loopback
address only:

| path | |
| --- | --- |
| `/metrics` | everything below, of all workers, in Prometheus' text format |
| `/livez`, `/healthz` | 200 while the run is watched over and gets on, else 503 (below) |
| `/readyz` | 200 once a segment worker takes frames and every stream has begun, else 503 |

Two balances hold at every moment. Per stream: captured = published + Σ dropped + Σ failed + in
flight. Per sink: offered = delivered + Σ dropped + Σ failed + queued. No counter falls when a
worker is replaced: what a file's next worker does again is in flight until it is done.

A run gets on while a segment worker is ready or a stream publishes something: `/livez` is 503
once neither was so for five minutes.

A dashboard for Grafana and alert rules made of them are in `deploy/monitoring`.

This page is made from `pipeline/metrics/names.py` by `make docs`.

| name | kind | labels | |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The text of docs/metrics.md."""
    rows = (
        f"| `{m.name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels)} | {m.help} |\n"
        for m in METRICS
    )
    return _HEAD + "".join(rows)
