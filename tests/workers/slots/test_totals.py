"""What a stream counts through all lives of its worker: nothing falls, and it always adds up."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from pipeline.accounting import SinkCounts, SinkState, StreamCounts
from workers.slots.totals import Totals

REDIS = SinkState("behind", 4096)


def counters(counts: StreamCounts) -> list[int]:
    """All that must never fall."""
    sinks = [n for sink in counts.sinks.values() for n in (sink.offered, sink.delivered)]
    causes = [counts.dropped.get("worker_died", 0), counts.failed.get("error", 0)]
    return [counts.captured, counts.published, counts.decode_errors, *causes, *sinks]


def life(
    rng: random.Random, first: int, waiting: int, *, every_frame: bool
) -> Iterator[StreamCounts]:
    """A worker that begins at a frame and finds messages on the disk; one report after another."""
    captured = published = first
    sent = 0
    yield StreamCounts("cam", "starting", first, first, every_frame=every_frame)
    for _ in range(rng.randrange(6)):
        captured += rng.randrange(4)
        published += rng.randrange(captured - published + 1)
        offered = waiting + published - first
        sent += rng.randrange(offered - sent + 1)
        yield StreamCounts(
            "cam",
            "streaming",
            captured,
            published,
            window=captured - published,
            sinks={
                "file": SinkCounts(published - first, published - first),
                "redis": SinkCounts(offered, sent, offered - sent, service=REDIS),
            },
            every_frame=every_frame,
        )


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", ["camera", "file", "recording"])
def test_no_counter_falls_whoever_dies_and_goes_on_where(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    totals = Totals("cam", live=kind != "file")
    before, first, waiting = counters(totals.shown), 0, 0
    for _ in range(6):
        last = None
        for last in life(rng, first, waiting, every_frame=kind != "camera"):
            totals.note(last)
            now = counters(totals.shown)
            now += [0] * (len(before) - len(now))
            assert all(a <= b for a, b in zip(before, now, strict=False)), (before, now)
            assert totals.shown.balanced(), totals.shown
            before = now
        totals.next_life()
        assert totals.shown.balanced(), totals.shown
        assert all(a <= b for a, b in zip(before, counters(totals.shown), strict=False))
        assert last is not None
        first = 0 if kind == "camera" else rng.randrange(last.published + 1)
        queued = last.sinks["redis"].queued if last.sinks else waiting
        waiting = max(0, queued - rng.randrange(3))  # some were sent before anybody was told
    assert totals.give_up("failed").balanced()


def test_a_recording_counts_what_is_done_again_once() -> None:
    """A URL says `camera` until it was looked at."""
    totals = Totals("clip", live=True)
    totals.note(StreamCounts("clip", "streaming", 100, 90, window=10, every_frame=True))
    totals.next_life()
    totals.note(StreamCounts("clip", "ended", 120, 120, every_frame=True))
    assert not totals.live
    assert totals.shown == StreamCounts("clip", "ended", 120, 120)


def test_what_waits_for_a_service_is_counted_once_and_what_was_sent_meanwhile_is_delivered() -> (
    None
):
    totals = Totals("cam", live=True)
    redis = SinkCounts(50, 20, 30, service=REDIS)
    totals.note(StreamCounts("cam", "streaming", 50, 50, sinks={"redis": redis}))
    totals.next_life()
    assert totals.shown.sinks["redis"] == redis
    found = SinkCounts(25, 0, 25, service=REDIS)  # five were sent before it died
    totals.note(StreamCounts("cam", "streaming", sinks={"redis": found}))
    assert totals.shown.sinks["redis"] == SinkCounts(50, 25, 25, service=REDIS)
