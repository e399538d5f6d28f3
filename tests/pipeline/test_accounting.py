"""Counters that add up, and what becomes of them when a stream dies."""

import pickle

import pytest

from pipeline.accounting import SinkCounts, StreamAccount, StreamCounts
from pipeline.histogram import BUCKETS_S, Histogram


def observed(*seconds: float) -> Histogram:
    account = StreamAccount("cam")
    for value in seconds:
        account.observe("segment", value)
    return account.snapshot().stages["segment"]


def test_a_fresh_account_is_balanced() -> None:
    counts = StreamAccount("cam").snapshot()
    assert (counts.source_id, counts.state, counts.captured) == ("cam", "starting", 0)
    assert counts.balanced()


def test_frames_are_in_flight_only_where_a_place_holds_them() -> None:
    account = StreamAccount("cam")
    account.captured(3)
    assert not account.snapshot().balanced()
    account.watch(buffered=lambda: 1, window=lambda: 2)
    counts = account.snapshot()
    assert counts.in_flight == 3
    assert counts.balanced()


def test_published_dropped_and_failed_settle_what_was_captured() -> None:
    account = StreamAccount("cam")
    account.captured(4)
    account.published()
    account.dropped("stale", 2)
    account.failed("poison")
    counts = account.snapshot()
    assert (counts.published, counts.dropped, counts.failed) == (1, {"stale": 2}, {"poison": 1})
    assert counts.balanced()


def test_each_sink_has_its_own_balance() -> None:
    account = StreamAccount("cam")
    account.open_sink("jsonl")
    for _ in range(4):
        account.offered("jsonl")
    account.delivered("jsonl")
    account.sink_dropped("jsonl", "busy")
    account.sink_failed("jsonl", "full")
    sink = account.snapshot().sinks["jsonl"]
    assert sink == SinkCounts(4, 1, 1, {"busy": 1}, {"full": 1})
    assert sink.balanced()
    assert not SinkCounts(offered=1).balanced()


def test_a_stream_with_an_unbalanced_sink_is_unbalanced() -> None:
    assert not StreamCounts(sinks={"jsonl": SinkCounts(offered=1)}).balanced()


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        pytest.param(0.0, 0, id="nothing"),
        pytest.param(0.001, 0, id="bounds belong to their bucket"),
        pytest.param(0.0011, 1, id="above a bound"),
        pytest.param(99.0, len(BUCKETS_S), id="longer than the last bound"),
    ],
)
def test_a_duration_falls_into_its_bucket(seconds: float, bucket: int) -> None:
    histogram = observed(seconds)
    assert histogram.counts[bucket] == histogram.count == 1
    assert histogram.sum_s == seconds


def test_a_quantile_lies_in_the_bucket_that_holds_it() -> None:
    histogram = observed(*[0.04] * 99, 1.2)
    assert histogram.quantile(0.5) == pytest.approx(0.035 + 0.015 * 50 / 99)
    assert histogram.quantile(1.0) == 1.5
    assert observed(99.0).quantile(0.5) == 10.0
    assert Histogram().quantile(0.5) is None


def test_incarnations_add_up_and_the_state_is_the_later_one() -> None:
    first = StreamCounts(
        "cam", "failed", 10, 7, {"stale": 3}, {}, decode_errors=1, sinks={"a": SinkCounts(7, 7)}
    )
    second = StreamCounts(
        "cam", "streaming", 5, 2, {"stale": 1}, {"poison": 1}, window=1, reconnects=2,
        sinks={"a": SinkCounts(2, 1, 1), "b": SinkCounts(2, 2)},
    )  # fmt: skip
    total = first + second
    assert total == StreamCounts(
        "cam", "streaming", 15, 9, {"stale": 4}, {"poison": 1}, window=1, decode_errors=1,
        reconnects=2, sinks={"a": SinkCounts(9, 8, 1), "b": SinkCounts(2, 2)},
    )  # fmt: skip
    assert total.balanced()


def test_histograms_of_incarnations_add_up() -> None:
    total = StreamCounts(stages={"track": observed(0.5)}) + StreamCounts(
        stages={"track": observed(0.25), "sink": observed(1.0)}
    )
    assert total.stages["track"] == observed(0.5, 0.25)
    assert total.stages["sink"] == observed(1.0)


def test_what_a_dead_stream_had_in_flight_is_dropped_under_the_cause_of_its_death() -> None:
    last = StreamCounts(
        "cam", "streaming", 9, 4, {"stale": 1}, buffered=2, window=1, in_hand=1,
        sinks={"a": SinkCounts(5, 4, 1), "b": SinkCounts(4, 4)},
    )  # fmt: skip
    assert last.balanced()
    lost = last.lost("worker_lost")
    assert lost.dropped == {"stale": 1, "worker_lost": 4}
    assert lost.in_flight == 0
    assert lost.sinks["a"] == SinkCounts(5, 4, 0, {"worker_lost": 1})
    assert lost.balanced()


@pytest.mark.parametrize(
    ("now", "seen"),
    [
        pytest.param(
            StreamCounts("a"),
            StreamCounts("a", captured=9, published=5, dropped={"stride": 1}, buffered=3),
            id="just-begun",
        ),
        pytest.param(
            StreamCounts("a", "streaming", 7, 5, {"stride": 1}, window=1, decode_errors=2),
            StreamCounts("a", "streaming", 9, 5, {"stride": 1}, {}, 2, 1, decode_errors=2),
            id="has-not-caught-up",
        ),
        pytest.param(
            StreamCounts("a", "streaming", 20, 15, {"stride": 2}, window=3),
            StreamCounts("a", "streaming", 20, 15, {"stride": 2}, window=3),
            id="has-caught-up",
        ),
        pytest.param(
            StreamCounts("a", "ended", 9, 9),
            StreamCounts("a", "ended", 10, 9, {"stride": 1}),
            id="what-was-dropped-before-is-not-now",
        ),
    ],
)
def test_the_counters_of_a_file_that_went_back_never_fall_and_stay_balanced(
    now: StreamCounts, seen: StreamCounts
) -> None:
    shown = StreamCounts("a", "streaming", 9, 5, {"stride": 1}, window=3)
    after = now.never_below(shown)
    assert after == seen
    assert after.balanced()


def test_a_source_speaks_for_itself_only_while_it_streams() -> None:
    account = StreamAccount("cam")
    account.watch(source_says=lambda: ("reconnecting", "no answer"))

    def standing():
        counts = account.snapshot()
        return counts.state, counts.why

    assert standing() == ("starting", None)
    account.enter("streaming")
    assert standing() == ("reconnecting", "no answer")
    account.enter("draining")
    assert standing() == ("draining", None)
    account.enter("failed", "no picture ever came")
    assert standing() == ("failed", "no picture ever came")


def test_a_snapshot_survives_pickling() -> None:
    account = StreamAccount("cam")
    account.captured()
    account.published()
    account.open_sink("jsonl")
    account.offered("jsonl")
    account.observe("track", 0.1)
    counts = account.snapshot()
    assert pickle.loads(pickle.dumps(counts)) == counts
