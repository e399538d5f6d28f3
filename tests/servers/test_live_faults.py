"""The long runs: what a fault costs the stream it hits, and what it costs the others.

`make test-faults` prints the figures that stand in docs/reliability.md. The healthy cameras send
clips encoded beforehand, the segmenter has a fixed latency, so that the figures are those of the
streams and not of a codec or a network.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import watch
from pipeline.runtime import Serving

HERE = Path(__file__).parent

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(600)]

SETTLE_S, BASELINE_S = 3.0, 8.0
MAX_BATCH, BATCH_S = 4, 0.02


@pytest.fixture
def watched() -> Iterator[Callable[..., Any]]:
    """Makes watched streams that share a segmenter."""
    segmenter = Serving(lambda: watch.FixedLatency(BATCH_S), max_batch=MAX_BATCH)
    streams: list[Any] = []

    def start(url: str, name: str) -> Any:
        streams.append(watch.Watched(url, segmenter, name=name))
        return streams[-1]

    yield start
    for stream in streams:
        stream.stop()
    segmenter.close()


FAULTS = {
    # name: (begin, end, how long, the stream must be seen to be down)
    "server killed": ("kill", "restart", 30.0, True),
    "server frozen": ("freeze", "thaw", 30.0, True),
    "accepts, stays silent": ("stall,reset", "pass", 10.0, True),
    "connection reset": ("reset", "", 0.0, False),
    "10 % of chunks corrupt": ("corrupt 0.1", "pass", 10.0, False),
    "100 kB/s": ("throttle 100000", "pass", 10.0, False),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_its_own_stream_alone(
    camera: Any, heavy_camera: Any, proxy: Any, watched: Any, figures: Any, fault: str
) -> None:
    begin, end, lasts_s, seen_down = FAULTS[fault]
    way = proxy(heavy_camera.ports[0])
    bad = watched(f"rtsp://127.0.0.1:{way.ports[0]}/cam", "bad")
    good = [watched(camera.url, f"good-{i}") for i in range(3)]
    for stream in (bad, *good):
        stream.wait_for_frames(25)
    time.sleep(SETTLE_S)
    baseline = (time.monotonic(), time.monotonic() + BASELINE_S)
    time.sleep(BASELINE_S)

    def do(words: str) -> None:
        for word in filter(None, words.split(",")):
            if hasattr(heavy_camera, word):
                getattr(heavy_camera, word)()
            else:
                way.say(word)

    began_s = time.monotonic()
    do(begin)
    time.sleep(lasts_s)
    ended_s = time.monotonic()
    do(end)
    time.sleep(8.0)
    over_s = time.monotonic()

    down_s = bad.down_after(began_s)
    back_s = bad.first_after(ended_s, new_epoch=not lasts_s)
    speed = min(g.fps(began_s, over_s) / g.fps(*baseline) for g in good)
    ages = max(g.p99_age_s(began_s, over_s) - g.p99_age_s(*baseline) for g in good)
    figures(
        fault,
        f"down after {down_s:.1f} s" if down_s is not None else "never down",
        f"back after {back_s:.1f} s",
        f"others {100 * (speed - 1):+.1f} % fps, {1000 * ages:+.0f} ms p99 age",
    )
    assert not seen_down or (down_s is not None and down_s <= 6.0)
    assert back_s <= 5.0
    assert abs(speed - 1) <= 0.05
    for stream in good:
        before_s = stream.p99_age_s(*baseline)
        assert stream.p99_age_s(began_s, over_s) <= before_s + max(0.2 * before_s, 0.05)
    assert all(not stream.unbalanced for stream in (bad, *good))


@dataclass(frozen=True)
class Overload:
    """Four cameras of 25 frames a second before a segmenter that does 50, for a while."""

    p99_age_s: float
    """Of the worst stream."""
    fps: list[float]
    """Published by each stream."""
    busy: float
    """Share of the time the segmenter worked."""
    predicted: float
    """Share of the frames published that were carried by the tracker."""
    in_a_row: int
    """The most of them one after another."""


LATENCY_S, OVERLOADED_BATCH_S = 0.5, 0.08


def longest_carried(published: list[Any]) -> int:
    runs = itertools.groupby(published, key=lambda p: p.predicted)
    return max((len(list(run)) for predicted, run in runs if predicted), default=0)


def overload(url: str, *, runs_s: float = 20.0, finds: int = 0, **more: Any) -> Overload:
    segmenter = Serving(lambda: watch.FixedLatency(OVERLOADED_BATCH_S, finds=finds), max_batch=4)
    streams = [
        watch.Watched(url, segmenter, name=f"cam-{i}", max_latency_s=LATENCY_S, **more)
        for i in range(4)
    ]
    for stream in streams:
        stream.wait_for_frames(25)
    time.sleep(SETTLE_S)
    began_s, busy_s = time.monotonic(), segmenter.counts("local").busy_s
    time.sleep(runs_s)
    over_s, busy_s = time.monotonic(), segmenter.counts("local").busy_s - busy_s
    each = [[p for p in s.published if began_s <= p.at_s < over_s] for s in streams]
    published = list(itertools.chain(*each))
    found = Overload(
        p99_age_s=max(stream.p99_age_s(began_s, over_s) for stream in streams),
        fps=[stream.fps(began_s, over_s) for stream in streams],
        busy=busy_s / (over_s - began_s),
        predicted=sum(p.predicted for p in published) / len(published),
        in_a_row=max(map(longest_carried, each)),
    )
    for stream in streams:
        stream.stop()
    segmenter.close()
    assert all(not stream.unbalanced for stream in streams)
    for stream in streams:
        assert stream.account.snapshot().balanced()
    return found


def told(found: Overload) -> tuple[str, ...]:
    budget = f"budget {1000 * LATENCY_S:.0f} + {1000 * OVERLOADED_BATCH_S:.0f}"
    return (
        f"p99 age {1000 * found.p99_age_s:.0f} ms ({budget})",
        f"segmenter {100 * found.busy:.1f} % busy",
        f"{min(found.fps):.1f} to {max(found.fps):.1f} fps each",
    )


def test_under_twice_the_load_frames_stay_fresh_and_the_segmenter_busy(
    camera: Any, figures: Any
) -> None:
    found = overload(camera.url)
    figures("2 x overload", *told(found))
    assert found.p99_age_s <= LATENCY_S + OVERLOADED_BATCH_S
    assert found.busy >= 0.95


def test_under_overload_the_tracker_carries_what_would_be_dropped(
    camera: Any, figures: Any
) -> None:
    without = overload(camera.url, finds=3, adaptive=False)
    thinned = overload(camera.url, finds=3, adaptive=True)
    for name, found in (("tracked", without), ("tracked, adaptive", thinned)):
        share = f"{100 * found.predicted:.0f} % of frames predicted, {found.in_a_row} in a row"
        figures(f"2 x overload, {name}", *told(found), share)
    assert without.predicted == 0
    assert 0.4 <= thinned.predicted <= 0.6
    assert sum(thinned.fps) >= 1.7 * sum(without.fps)
    assert thinned.p99_age_s <= LATENCY_S + OVERLOADED_BATCH_S
    assert thinned.busy >= 0.95


def test_two_hundred_reconnects_cost_nothing(camera: Any, proxy: Any, figures: Any) -> None:
    way = proxy(camera.ports[0])
    command = [sys.executable, str(HERE / "reconnecting.py")]
    command += [f"rtsp://127.0.0.1:{way.ports[0]}/cam", "200"]
    seen: list[dict[str, float]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            seen.append(json.loads(line))
            way.say("reset")
    assert child.returncode == 0
    assert seen[-1]["reconnects"] == 200
    grown_mb = seen[-1]["resident_mb"] - seen[50]["resident_mb"]
    figures(
        "200 reconnects",
        f"{grown_mb:+.1f} MB after the 50th",
        f"threads {seen[50]['threads']:.0f} to {seen[-1]['threads']:.0f}",
        f"files {seen[50]['files']:.0f} to {seen[-1]['files']:.0f}",
    )
    assert grown_mb <= 5.0
    assert max(s["threads"] for s in seen[50:]) <= max(s["threads"] for s in seen[:50])
    assert max(s["files"] for s in seen[50:]) <= max(s["files"] for s in seen[:50])
