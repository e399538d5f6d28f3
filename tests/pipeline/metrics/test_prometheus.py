"""What Prometheus reads is what was counted."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.accounting import SinkCounts, StreamAccount, StreamCounts
from pipeline.metrics.counts import GpuUse, RunCounts, WorkerCounts
from pipeline.metrics.names import METRICS
from pipeline.metrics.prometheus import exposition


def samples(counts: RunCounts) -> dict[tuple[str, frozenset[str]], float]:
    """Values by name and label values, as a scraper reads them."""
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exposition(counts).decode())
        for sample in family.samples
    }


GATE = StreamCounts(
    source_id="gate",
    state="streaming",
    captured=20,
    published=11,
    dropped={"stale": 4, "max_fps": 1},
    failed={"out_of_memory": 1},
    buffered=1,
    window=2,
    decode_errors=5,
    reconnects=6,
    sinks={"jsonl": SinkCounts(offered=11, delivered=8, queued=1, dropped={"busy": 2})},
)


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("maskstream_frames_captured_total", ("gate",), 20),
        ("maskstream_frames_published_total", ("gate",), 11),
        ("maskstream_frames_dropped_total", ("gate", "stale"), 4),
        ("maskstream_frames_dropped_total", ("gate", "max_fps"), 1),
        ("maskstream_frames_failed_total", ("gate", "out_of_memory"), 1),
        ("maskstream_frames_in_flight", ("gate",), 3),
        ("maskstream_decode_errors_total", ("gate",), 5),
        ("maskstream_reconnects_total", ("gate",), 6),
        ("maskstream_stream_up", ("gate",), 1),
        ("maskstream_stream_state", ("gate", "streaming"), 1),
        ("maskstream_stream_restarts_total", ("gate",), 2),
        ("maskstream_sink_offered_total", ("gate", "jsonl"), 11),
        ("maskstream_sink_delivered_total", ("gate", "jsonl"), 8),
        ("maskstream_sink_dropped_total", ("gate", "jsonl", "busy"), 2),
        ("maskstream_sink_queued", ("gate", "jsonl"), 1),
    ],
)
def test_a_stream_is_rendered(name: str, labels: tuple[str, ...], value: float) -> None:
    counts = RunCounts(streams=(GATE,), stream_restarts={"gate": 2})
    assert samples(counts)[name, frozenset(labels)] == value


def test_stage_times_are_cumulated_by_bucket() -> None:
    account = StreamAccount("gate")
    for seconds in (0.0009, 0.004, 0.004, 60.0):
        account.observe("segment", seconds)
    seen = samples(RunCounts(streams=(account.snapshot(),)))
    name = "maskstream_stage_seconds"
    assert seen[f"{name}_bucket", frozenset({"gate", "segment", "0.001"})] == 1
    assert seen[f"{name}_bucket", frozenset({"gate", "segment", "0.005"})] == 3
    assert seen[f"{name}_bucket", frozenset({"gate", "segment", "10.0"})] == 3
    assert seen[f"{name}_bucket", frozenset({"gate", "segment", "+Inf"})] == 4
    assert seen[f"{name}_count", frozenset({"gate", "segment"})] == 4
    assert seen[f"{name}_sum", frozenset({"gate", "segment"})] == pytest.approx(60.0089)


def test_a_worker_is_rendered() -> None:
    batches = {1: 2, 3: 1, 8: 4}
    worker = WorkerCounts(
        "segment-0", "ready", restarts=1, waiting=3, batches=batches, busy_s=1.5, buckets=2
    )
    seen = samples(RunCounts(workers=(worker,)))
    assert seen["maskstream_worker_up", frozenset({"segment-0"})] == 1
    assert seen["maskstream_worker_state", frozenset({"segment-0", "ready"})] == 1
    assert seen["maskstream_worker_state", frozenset({"segment-0", "lost"})] == 0
    assert seen["maskstream_worker_restarts_total", frozenset({"segment-0"})] == 1
    assert seen["maskstream_worker_waiting_frames", frozenset({"segment-0"})] == 3
    assert seen["maskstream_worker_busy_seconds_total", frozenset({"segment-0"})] == 1.5
    assert seen["maskstream_worker_buckets", frozenset({"segment-0"})] == 2
    assert seen["maskstream_batch_size_bucket", frozenset({"segment-0", "1.0"})] == 2
    assert seen["maskstream_batch_size_bucket", frozenset({"segment-0", "4.0"})] == 3
    assert seen["maskstream_batch_size_count", frozenset({"segment-0"})] == 7
    assert seen["maskstream_batch_size_sum", frozenset({"segment-0"})] == 37


def test_the_gpu_of_a_worker_is_rendered_where_it_is_known() -> None:
    on_gpu = WorkerCounts("segment-0", "ready", gpu=GpuUse(0.37, 20_000, 24_000))
    seen = samples(RunCounts(workers=(on_gpu, WorkerCounts("segment-1", "ready"))))
    told = {name: value for (name, _), value in seen.items() if "gpu" in name}
    assert told == {
        "maskstream_worker_gpu_use_ratio": 0.37,
        "maskstream_worker_gpu_memory_used_bytes": 20_000,
        "maskstream_worker_gpu_memory_bytes": 24_000,
    }


def test_the_lives_of_a_worker_add_up() -> None:
    first = WorkerCounts(
        "segment-0", "lost", batches={2: 1}, failed={"oom": 1}, busy_s=1.0, buckets=3
    )
    second = WorkerCounts(
        "segment-0", "ready", restarts=1, batches={2: 3, 4: 1}, busy_s=0.5, buckets=2
    )
    both = first + second
    assert both == WorkerCounts(
        "segment-0",
        "ready",
        restarts=1,
        batches={2: 4, 4: 1},
        failed={"oom": 1},
        busy_s=1.5,
        buckets=2,
    )
    assert both.frames == 12


def test_every_metric_of_the_table_is_on_the_page_even_before_anything_happened() -> None:
    page = exposition(RunCounts()).decode()
    for metric in METRICS:
        assert f"# HELP {metric.name} {metric.help}\n" in page
        assert f"# TYPE {metric.name} {metric.kind}\n" in page


@pytest.mark.parametrize(
    ("streams", "workers", "ready"),
    [
        pytest.param(["streaming"], ["ready"], True, id="all there"),
        pytest.param(["starting", "streaming"], ["ready"], False, id="a stream has not begun"),
        pytest.param(["ended"], ["lost", "ready"], True, id="one worker is enough"),
        pytest.param(["streaming"], ["lost"], False, id="no worker"),
    ],
)
def test_a_run_is_ready_when_frames_can_flow(
    streams: list[str], workers: list[str], ready: bool
) -> None:
    counts = RunCounts(
        streams=tuple(StreamCounts(state=state) for state in streams),
        workers=tuple(WorkerCounts(state=state) for state in workers),
    )
    assert counts.ready is ready
