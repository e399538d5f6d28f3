"""What a run did lately, from its counters then and now."""

import pytest

from pipeline.accounting import StreamCounts
from pipeline.histogram import Histogram
from pipeline.metrics.counts import RunCounts, WorkerCounts
from pipeline.service.recent import Recent, StreamRates, WorkerRates


class Hand:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_rates_are_what_was_counted_in_the_last_ten_seconds() -> None:
    hand = Hand()
    recent = Recent(hand)
    for hand.now_s in range(31):
        late = Histogram((0,) * 22 + (hand.now_s,), sum_s=12.0 * hand.now_s)
        stream = StreamCounts(
            "a",
            captured=25 * hand.now_s,
            published=20 * hand.now_s,
            dropped={"stale": 4 * hand.now_s, "stride": 7},
            failed={"error": hand.now_s},
            stages={"end_to_end": late},
        )
        worker = WorkerCounts("w", batches={4: 5 * hand.now_s}, busy_s=0.75 * hand.now_s)
        counts = RunCounts((stream,), (worker,))
        recent.note(counts)
    (rates,) = recent.streams(counts).values()
    assert rates == StreamRates(
        10.0,
        fps_in=25.0,
        fps_out=20.0,
        lost={"stale": 40, "error": 10},
        stages={"end_to_end": Histogram((0,) * 22 + (10,), sum_s=120.0)},
    )
    assert recent.workers(counts) == {"w": WorkerRates(10.0, busy=0.75, fps=20, frames_a_batch=4)}


def test_a_stream_that_is_new_has_none_yet() -> None:
    hand = Hand()
    recent = Recent(hand)
    assert recent.streams(RunCounts((StreamCounts("a"),))) == {}
    recent.note(RunCounts((StreamCounts("a"),)))
    hand.now_s = 2.0
    assert list(recent.streams(RunCounts((StreamCounts("a"), StreamCounts("b"))))) == ["a"]


def test_counters_that_began_anew_count_from_zero() -> None:
    hand = Hand()
    recent = Recent(hand)
    recent.note(RunCounts((StreamCounts("a", captured=100, stages={"track": _ones(9)}),)))
    hand.now_s = 2.0
    now = RunCounts((StreamCounts("a", captured=6, stages={"track": _ones(4)}),))
    rates = recent.streams(now)["a"]
    assert (rates.fps_in, rates.stages["track"].count) == (3.0, 4)


def _ones(count: int) -> Histogram:
    return Histogram((count,) + (0,) * 22, sum_s=count / 2000)


def test_a_mean_of_nothing_is_none() -> None:
    assert Histogram().mean_s is None
    assert _ones(3).mean_s == pytest.approx(0.0005)
