"""What the loop of a stream promises: one result a frame, in order, within its limits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pipeline.stages import Outcome, Status
from pipeline.stream import Stream
from pipeline.testing import (
    ListSink,
    ManualSegmenter,
    ScriptedSource,
    make_frame,
    make_frames,
)

MakeStream = Callable[..., Stream]
Start = Callable[[Stream], Any]


def test_every_frame_gives_one_result_in_order(make_stream: MakeStream) -> None:
    sink = ListSink()
    end = make_stream(ScriptedSource(make_frames(40)), [sink], window=5).run()
    assert sink.indices == list(range(40))
    assert end.outcome == Outcome(Status.COMPLETE, None, 40, 40)
    assert (end.counts.captured, end.counts.published, end.counts.in_flight) == (40, 40, 0)
    assert end.counts.balanced()
    assert (end.exit_code, end.counts.state, sink.closes) == (0, "ended", 1)


def test_answers_that_come_out_of_order_are_published_in_order(
    make_stream: MakeStream, start: Start
) -> None:
    segmenter, sink = ManualSegmenter(), ListSink()
    running = start(
        make_stream(ScriptedSource(make_frames(3)), [sink], segmenter=segmenter, window=3)
    )
    segmenter.wait_for(0, 1, 2)
    segmenter.answer(2)
    segmenter.answer(1)
    assert sink.indices == []
    segmenter.answer(0)
    running.end()
    assert sink.indices == [0, 1, 2]


def test_all_waiting_frames_that_fit_are_submitted_in_one_call(
    make_stream: MakeStream, start: Start
) -> None:
    all_read = threading.Event()
    segmenter = ManualSegmenter(on_submit=all_read.wait)  # holds the loop until all are read
    script = [make_frame(0), lambda: segmenter.wait_for(0), *make_frames(4, start=1), all_read.set]
    running = start(make_stream(ScriptedSource(script), segmenter=segmenter, window=4, buffer=4))
    segmenter.wait_for(0, 1, 2, 3)
    assert segmenter.submits == [[0], [1, 2, 3]]
    for index in range(4):
        segmenter.answer(index)
    segmenter.wait_for(4)
    segmenter.answer(4)
    assert running.end().counts.published == 5


def test_no_more_frames_are_in_flight_than_the_window_holds(
    make_stream: MakeStream, start: Start
) -> None:
    segmenter = ManualSegmenter()
    running = start(make_stream(ScriptedSource(make_frames(6)), segmenter=segmenter, window=2))
    for index in range(6):
        segmenter.wait_for(index)
        assert len(segmenter.waiting) <= 2
        segmenter.answer(index)
    assert running.end().counts.published == 6


def test_pixels_in_flight_are_bounded_but_one_frame_always_goes(
    make_stream: MakeStream, start: Start
) -> None:
    segmenter = ManualSegmenter()
    running = start(
        make_stream(ScriptedSource(make_frames(3)), segmenter=segmenter, in_flight_bytes=1)
    )
    for index in range(3):
        segmenter.wait_for(index)
        assert segmenter.waiting == [index]
        segmenter.answer(index)
    assert running.end().counts.published == 3
