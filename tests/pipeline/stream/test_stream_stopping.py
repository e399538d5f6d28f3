"""A stream can be drained or left at any time, and its account still adds up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import SinkBusy
from pipeline.results import FrameResult
from pipeline.stages import Outcome, Status
from pipeline.stream import Drain, Leave, Stream
from pipeline.testing import (
    ListSink,
    ManualClock,
    ManualSegmenter,
    Pause,
    ScriptedSource,
    make_frame,
    make_frames,
)

MakeStream = Callable[..., Stream]
Start = Callable[[Stream], Any]


def test_stop_publishes_everything_captured_and_finishes_the_sinks(
    make_stream: MakeStream, start: Start
) -> None:
    segmenter, sink = ManualSegmenter(), ListSink()
    source = ScriptedSource([*make_frames(3), Pause.UNTIL_STOPPED, make_frame(3)])
    running = start(make_stream(source, [sink], segmenter=segmenter))
    segmenter.wait_for(0, 1, 2)
    running.stream.obey(Drain("enough"))
    for index in range(3):
        segmenter.answer(index)
    end = running.end()
    assert sink.indices == [0, 1, 2]
    assert end.stopped
    assert end.why_stopped == "enough"
    assert (end.outcome.status, end.exit_code) == (Status.INCOMPLETE, 0)
    assert end.counts.balanced()
    assert end.counts.dropped == {}
    assert len(sink.ends) == sink.closes == 1


def test_a_stop_before_the_start_reads_nothing(make_stream: MakeStream) -> None:
    sink = ListSink()
    stream = make_stream(ScriptedSource(make_frames(3)), [sink])
    stream.obey(Drain("enough"))
    end = stream.run()
    assert end.stopped
    assert end.counts.captured == 0
    assert len(sink.ends) == 1


def test_a_source_that_does_not_hear_is_left_behind(make_stream: MakeStream, start: Start) -> None:
    free, deaf = threading.Event(), threading.Event()
    clock = ManualClock()

    def never_hears() -> None:
        deaf.set()
        free.wait()

    sink = ListSink()
    source = ScriptedSource([make_frame(0), never_hears, make_frame(1)])
    stream = make_stream(source, [sink], clock=clock, stop_timeout_s=0.05)
    running = start(stream)
    deaf.wait()
    stream.obey(Drain("enough"))
    clock.advance(1.0)
    end = running.end()
    free.set()
    assert sink.indices == [0]
    assert end.counts.balanced()


def test_abort_drops_what_is_in_flight_and_leaves_sinks_unfinished(
    make_stream: MakeStream, start: Start
) -> None:
    segmenter, sink = ManualSegmenter(), ListSink()
    running = start(
        make_stream(ScriptedSource(make_frames(9)), [sink], segmenter=segmenter, window=2, buffer=1)
    )
    segmenter.wait_for(0, 1)
    segmenter.answer(0)
    segmenter.wait_for(2)
    running.stream.obey(Leave("enough"))
    end = running.end()
    assert sink.indices == [0]
    assert end.outcome == Outcome(Status.FAILED, "aborted")
    assert end.counts.balanced()
    assert end.counts.in_flight == 0
    assert end.counts.dropped["aborted"] >= 2
    assert (sink.ends, sink.closes) == ([], 1)


def test_abort_frees_a_stream_that_waits_for_a_busy_sink(
    make_stream: MakeStream, start: Start
) -> None:
    asked = threading.Event()

    class Busy(ListSink):
        def write(self, result: FrameResult, picture: Any) -> None:
            asked.set()
            raise SinkBusy("never", 3600.0)

    running = start(make_stream(ScriptedSource(make_frames(3)), [Busy()]))
    asked.wait()
    running.stream.obey(Leave("enough"))
    end = running.end()
    assert end.counts.sinks["s0"].dropped == {"aborted": 1}
    assert end.counts.balanced()


@pytest.mark.parametrize("error", [RuntimeError("no such handle"), SystemExit(3)])
def test_a_source_that_cannot_be_stopped_costs_neither_who_asks_nor_the_sinks(
    make_stream: MakeStream, start: Start, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    reading, go_on = threading.Event(), threading.Event()
    source = ScriptedSource([make_frame(), reading.set, go_on.wait, make_frame(1)])

    def stop() -> None:
        go_on.set()
        raise error

    source.stop = stop  # type: ignore[method-assign]
    sink = ListSink()
    running = start(make_stream(source, [sink]))
    reading.wait()
    running.stream.obey(Drain("enough"))
    end = running.end()
    assert (sink.indices, len(sink.ends), sink.closes) == ([0, 1], 1, 1)
    assert (end.exit_code, end.counts.balanced()) == (0, True)
    assert "cam: the source cannot be stopped: " in caplog.text
