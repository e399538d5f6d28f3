"""A camera's newest frame counts; what is left out for it is counted by its cause."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pipeline.stream import Stream
from pipeline.testing import (
    ListSink,
    ManualClock,
    ManualSegmenter,
    ScriptedSource,
    make_frame,
    make_frames,
)

MakeStream = Callable[..., Stream]
Start = Callable[[Stream], Any]


def test_a_camera_drops_the_oldest_waiting_frames_and_counts_them(
    make_stream: MakeStream, start: Start
) -> None:
    segmenter, sink = ManualSegmenter(), ListSink()
    all_read = threading.Event()
    script = [
        make_frame(0),
        lambda: segmenter.wait_for(0),
        *make_frames(7, start=1),
        all_read.set,
    ]
    source = ScriptedSource(script, live=True)
    running = start(make_stream(source, [sink], segmenter=segmenter, window=1, buffer=2))
    all_read.wait()
    for index in (0, 6, 7):
        segmenter.wait_for(index)
        segmenter.answer(index)
    end = running.end()
    assert sink.indices == [0, 6, 7]
    assert end.counts.dropped == {"buffer_full": 5}
    assert end.counts.balanced()


def test_frames_too_old_are_dropped_before_they_are_segmented(
    make_stream: MakeStream, start: Start
) -> None:
    clock, segmenter, sink = ManualClock(), ManualSegmenter(), ListSink()
    all_read = threading.Event()
    script = [
        make_frame(0),
        lambda: segmenter.wait_for(0),
        make_frame(1),
        lambda: clock.advance(0.75),
        make_frame(2),
        all_read.set,
    ]
    source = ScriptedSource(script, live=True)
    running = start(
        make_stream(source, [sink], segmenter=segmenter, clock=clock, window=1, max_latency_s=0.5)
    )
    all_read.wait()
    segmenter.answer(0)
    segmenter.wait_for(2)
    segmenter.answer(2)
    end = running.end()
    assert sink.indices == [0, 2]
    assert end.counts.dropped == {"stale": 1}
    assert segmenter.submits == [[0], [2]]


def test_files_have_no_old_frames(make_stream: MakeStream) -> None:
    clock, sink = ManualClock(), ListSink()
    script = [step for frame in make_frames(4) for step in (frame, lambda: clock.advance(9.0))]
    end = make_stream(ScriptedSource(script), [sink], clock=clock, max_latency_s=0.1).run()
    assert sink.indices == [0, 1, 2, 3]
    assert end.counts.dropped == {}
