"""What the loop of a stream promises: one result a frame, in order, nothing unaccounted for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.accounting import StreamAccount, StreamCounts
from pipeline.errors import SegmentFailed, SinkBusy, SinkError, SinkFull, SourceOpenError
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.results import FrameResult
from pipeline.runner import LocalSegmenter
from pipeline.stages import Outcome, Status
from pipeline.stream import End, Stream
from pipeline.testing import (
    ListSink,
    ManualClock,
    ManualSegmenter,
    Pause,
    ScriptedSource,
    StubSegmenter,
    make_frame,
    make_frames,
    make_instances,
)

MakeStream = Callable[..., Stream]


class Running:
    """A stream in a thread, joined at the end of the test."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._ends: list[End] = []
        self._thread = threading.Thread(target=lambda: self._ends.append(stream.run()), daemon=True)
        self._thread.start()

    def end(self) -> End:
        self._thread.join(20)
        assert not self._thread.is_alive(), "the stream does not end"
        return self._ends[0]


# -- order -------------------------------------------------------------------------------------


def test_every_frame_gives_one_result_in_order(make_stream: MakeStream) -> None:
    sink = ListSink()
    end = make_stream(ScriptedSource(make_frames(40)), [sink], window=5).run()
    assert sink.indices == list(range(40))
    assert end.outcome == Outcome(Status.COMPLETE, None, 40, 40)
    assert (end.counts.captured, end.counts.published, end.counts.in_flight) == (40, 40, 0)
    assert end.counts.balanced()
    assert (end.exit_code, end.counts.state, sink.closes) == (0, "ended", 1)


def test_answers_that_come_out_of_order_are_published_in_order(make_stream: MakeStream) -> None:
    segmenter, sink = ManualSegmenter(), ListSink()
    running = Running(
        make_stream(ScriptedSource(make_frames(3)), [sink], segmenter=segmenter, window=3)
    )
    segmenter.wait_for(0, 1, 2)
    segmenter.answer(2)
    segmenter.answer(1)
    assert sink.indices == []
    segmenter.answer(0)
    running.end()
    assert sink.indices == [0, 1, 2]


def test_all_waiting_frames_that_fit_are_submitted_in_one_call(make_stream: MakeStream) -> None:
    all_read = threading.Event()
    segmenter = ManualSegmenter(on_submit=all_read.wait)  # holds the loop until all are read
    script = [make_frame(0), lambda: segmenter.wait_for(0), *make_frames(4, start=1), all_read.set]
    running = Running(make_stream(ScriptedSource(script), segmenter=segmenter, window=4, buffer=4))
    segmenter.wait_for(0, 1, 2, 3)
    assert segmenter.submits == [[0], [1, 2, 3]]
    for index in range(4):
        segmenter.answer(index)
    segmenter.wait_for(4)
    segmenter.answer(4)
    assert running.end().counts.published == 5


def test_no_more_frames_are_in_flight_than_the_window_holds(make_stream: MakeStream) -> None:
    segmenter = ManualSegmenter()
    running = Running(make_stream(ScriptedSource(make_frames(6)), segmenter=segmenter, window=2))
    for index in range(6):
        segmenter.wait_for(index)
        assert len(segmenter.waiting) <= 2
        segmenter.answer(index)
    assert running.end().counts.published == 6


def test_pixels_in_flight_are_bounded_but_one_frame_always_goes(make_stream: MakeStream) -> None:
    segmenter = ManualSegmenter()
    running = Running(
        make_stream(ScriptedSource(make_frames(3)), segmenter=segmenter, in_flight_bytes=1)
    )
    for index in range(3):
        segmenter.wait_for(index)
        assert segmenter.waiting == [index]
        segmenter.answer(index)
    assert running.end().counts.published == 3


# -- failures ------------------------------------------------------------------------------------


def test_a_frame_that_cannot_be_segmented_is_counted_and_left_out(make_stream: MakeStream) -> None:
    segmenter, sink = ManualSegmenter(), ListSink()
    running = Running(make_stream(ScriptedSource(make_frames(3)), [sink], segmenter=segmenter))
    segmenter.wait_for(0, 1, 2)
    segmenter.answer(0)
    segmenter.fail(1, "out_of_memory")
    segmenter.answer(2)
    end = running.end()
    assert sink.indices == [0, 2]
    assert end.counts.failed == {"out_of_memory": 1}
    assert end.counts.balanced()
    assert end.exit_code == 1


@pytest.mark.parametrize(
    ("error", "cause", "reason"),
    [
        pytest.param(SinkFull("out.jsonl: disk full"), "full", "out.jsonl: disk full", id="full"),
        pytest.param(SinkError("gone"), "sink_error", "gone", id="lost"),
        pytest.param(ValueError("oops"), "bug", "ValueError: oops", id="bug"),
    ],
)
def test_a_failing_sink_stops_alone(
    make_stream: MakeStream, error: Exception, cause: str, reason: str
) -> None:
    good, bad = ListSink(), ListSink(errors={2: error})
    end = make_stream(ScriptedSource(make_frames(5)), [good, bad]).run()
    assert good.indices == [0, 1, 2, 3, 4]
    assert bad.indices == [0, 1]
    assert end.sink_errors == {"s1": reason}
    assert end.counts.sinks["s1"].failed == {cause: 1}
    assert end.counts.sinks["s1"].dropped == {"sink_lost": 2}
    assert end.counts.balanced()
    assert end.outcome.status is Status.COMPLETE
    assert end.exit_code == 1
    assert (len(good.ends), len(bad.ends), bad.closes) == (1, 0, 1)


def test_without_any_sink_left_the_stream_ends(make_stream: MakeStream) -> None:
    sink = ListSink(errors={1: SinkFull("disk full")})
    end = make_stream(ScriptedSource(make_frames(100)), [sink], window=1, buffer=1).run()
    assert end.outcome == Outcome(Status.FAILED, "every sink is lost")
    assert end.counts.captured < 100
    assert end.counts.balanced()
    assert end.exit_code == 1


def test_a_busy_sink_gets_the_same_result_again(make_stream: MakeStream) -> None:
    sink = ListSink(errors={1: SinkBusy("wait", 0.0), 2: SinkBusy("wait", 0.0)})
    end = make_stream(ScriptedSource(make_frames(3)), [sink]).run()
    assert sink.indices == [0, 1, 2]
    assert sink.calls == 5
    assert end.exit_code == 0


def test_a_camera_waits_for_a_busy_sink_only_so_long(make_stream: MakeStream) -> None:
    clock = ManualClock()

    class Busy(ListSink):
        def write(self, result: FrameResult, picture: Any) -> None:
            if result.index == 0:
                clock.advance(0.5)
                raise SinkBusy("wait", 0.0)
            super().write(result, picture)

    sink, other = Busy(), ListSink()
    source = ScriptedSource(make_frames(2), live=True)
    end = make_stream(source, [sink, other], clock=clock, patience_s=1.0).run()
    assert sink.indices == [1]
    assert other.indices == [0, 1]
    assert end.counts.sinks["s0"].dropped == {"busy": 1}
    assert end.counts.balanced()


def test_a_source_that_cannot_be_opened_ends_the_stream_with_its_reason(
    make_stream: MakeStream,
) -> None:
    sink = ListSink()
    source = ScriptedSource([SourceOpenError("cam: no such file")])
    end = make_stream(source, [sink]).run()
    assert end.outcome.status is Status.FAILED
    assert end.outcome.reason == "cam: no such file"
    assert (end.exit_code, end.bug, end.counts.state) == (2, None, "failed")
    assert sink.ends[0]["outcome"] == "failed"
    assert sink.ends[0]["reason"] == "cam: no such file"


def test_what_was_captured_before_a_source_broke_is_published(make_stream: MakeStream) -> None:
    sink = ListSink()
    end = make_stream(ScriptedSource([*make_frames(3), OSError("cable")]), [sink]).run()
    assert sink.indices == [0, 1, 2]
    assert end.outcome.status is Status.FAILED
    assert end.bug == "OSError: cable"
    assert end.exit_code == 1


def test_a_bug_in_the_loop_ends_the_stream_and_closes_its_sinks(make_stream: MakeStream) -> None:
    class Broken:
        def update(self, instances: Instances | None, **_: Any) -> Instances:
            raise ZeroDivisionError("bug")

    sink = ListSink()
    end = make_stream(ScriptedSource(make_frames(3)), [sink], tracker=Broken()).run()
    assert end.bug == "ZeroDivisionError: bug"
    assert end.counts.balanced()
    assert (end.exit_code, sink.closes, sink.ends) == (1, 1, [])


def test_an_incomplete_source_ends_with_its_own_account(make_stream: MakeStream) -> None:
    outcome = Outcome(Status.INCOMPLETE, "cam: cut off after 3 of 9 frames", 3, 9)
    sink = ListSink()
    end = make_stream(ScriptedSource(make_frames(3), outcome=outcome), [sink]).run()
    assert end.outcome == outcome
    assert end.exit_code == 2
    assert sink.ends == [
        {
            "schema": "maskstream.end/1", "run": "run", "source": "cam", "outcome": "incomplete",
            "reason": "cam: cut off after 3 of 9 frames", "decoded": 3, "announced": 9,
            "accounting": {
                "captured": 3, "published": 3, "dropped": {}, "failed": {}, "in_flight": 0,
                "decode_errors": 0, "reconnects": 0,
            },
        }
    ]  # fmt: skip


# -- stopping ------------------------------------------------------------------------------------


def test_stop_publishes_everything_captured_and_finishes_the_sinks(make_stream: MakeStream) -> None:
    segmenter, sink = ManualSegmenter(), ListSink()
    source = ScriptedSource([*make_frames(3), Pause.UNTIL_STOPPED, make_frame(3)])
    running = Running(make_stream(source, [sink], segmenter=segmenter))
    segmenter.wait_for(0, 1, 2)
    running.stream.stop()
    for index in range(3):
        segmenter.answer(index)
    end = running.end()
    assert sink.indices == [0, 1, 2]
    assert end.stopped
    assert (end.outcome.status, end.exit_code) == (Status.INCOMPLETE, 0)
    assert end.counts.balanced()
    assert end.counts.dropped == {}
    assert len(sink.ends) == sink.closes == 1


def test_a_stop_before_the_start_reads_nothing(make_stream: MakeStream) -> None:
    sink = ListSink()
    stream = make_stream(ScriptedSource(make_frames(3)), [sink])
    stream.stop()
    end = stream.run()
    assert end.stopped
    assert end.counts.captured == 0
    assert len(sink.ends) == 1


def test_a_source_that_does_not_hear_is_left_behind(make_stream: MakeStream) -> None:
    free, deaf = threading.Event(), threading.Event()
    clock = ManualClock()

    def never_hears() -> None:
        deaf.set()
        free.wait()

    sink = ListSink()
    source = ScriptedSource([make_frame(0), never_hears, make_frame(1)])
    stream = make_stream(source, [sink], clock=clock, stop_timeout_s=0.05)
    running = Running(stream)
    deaf.wait()
    stream.stop()
    clock.advance(1.0)
    end = running.end()
    free.set()
    assert sink.indices == [0]
    assert end.counts.balanced()


def test_abort_drops_what_is_in_flight_and_leaves_sinks_unfinished(make_stream: MakeStream) -> None:
    segmenter, sink = ManualSegmenter(), ListSink()
    running = Running(
        make_stream(ScriptedSource(make_frames(9)), [sink], segmenter=segmenter, window=2, buffer=1)
    )
    segmenter.wait_for(0, 1)
    segmenter.answer(0)
    segmenter.wait_for(2)
    running.stream.abort()
    end = running.end()
    assert sink.indices == [0]
    assert end.outcome == Outcome(Status.FAILED, "aborted")
    assert end.counts.balanced()
    assert end.counts.in_flight == 0
    assert end.counts.dropped["aborted"] >= 2
    assert (sink.ends, sink.closes) == ([], 1)


def test_abort_frees_a_stream_that_waits_for_a_busy_sink(make_stream: MakeStream) -> None:
    asked = threading.Event()

    class Busy(ListSink):
        def write(self, result: FrameResult, picture: Any) -> None:
            asked.set()
            raise SinkBusy("never", 3600.0)

    running = Running(make_stream(ScriptedSource(make_frames(3)), [Busy()]))
    asked.wait()
    running.stream.abort()
    end = running.end()
    assert end.counts.sinks["s0"].dropped == {"aborted": 1}
    assert end.counts.balanced()


# -- live sources ----------------------------------------------------------------------------------


def test_a_camera_drops_the_oldest_waiting_frames_and_counts_them(make_stream: MakeStream) -> None:
    segmenter, sink = ManualSegmenter(), ListSink()
    all_read = threading.Event()
    script = [
        make_frame(0),
        lambda: segmenter.wait_for(0),
        *make_frames(7, start=1),
        all_read.set,
    ]
    source = ScriptedSource(script, live=True)
    running = Running(make_stream(source, [sink], segmenter=segmenter, window=1, buffer=2))
    all_read.wait()
    for index in (0, 6, 7):
        segmenter.wait_for(index)
        segmenter.answer(index)
    end = running.end()
    assert sink.indices == [0, 6, 7]
    assert end.counts.dropped == {"buffer_full": 5}
    assert end.counts.balanced()


def test_frames_too_old_are_dropped_before_they_are_segmented(make_stream: MakeStream) -> None:
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
    running = Running(
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


# -- thinning, tracking ----------------------------------------------------------------------------


def test_max_fps_thins_by_time_stamps_and_counts_what_is_left_out(make_stream: MakeStream) -> None:
    sink = ListSink()
    end = make_stream(ScriptedSource(make_frames(10)), [sink], max_fps=5.0).run()
    assert sink.indices == [0, 2, 4, 6, 8]
    assert end.counts.dropped == {"max_fps": 5}
    assert end.counts.captured == 10


def test_frames_the_source_did_not_even_decode_are_captured_and_thinned_out(
    make_stream: MakeStream,
) -> None:
    sink = ListSink()
    first, second = make_frame(0), make_frame(5)

    def skip(count: int) -> Callable[[], None]:
        return lambda: setattr(source, "skipped", source.skipped + count)

    source = ScriptedSource([first, skip(4), second, skip(2)], live=True)
    end = make_stream(source, [sink], max_fps=2.0).run()
    assert sink.indices == [0, 5]
    assert (end.counts.captured, end.counts.dropped) == (8, {"max_fps": 6})
    assert end.counts.balanced()


def test_a_new_epoch_begins_with_a_frame_whatever_was_due(make_stream: MakeStream) -> None:
    frames = [*make_frames(3), make_frame(3, epoch=1, pts_s=0.0), make_frame(4, epoch=1, pts_s=0.1)]
    sink = ListSink()
    make_stream(ScriptedSource(frames), [sink], max_fps=5.0).run()
    assert [(r.epoch, r.index) for r in sink.results] == [(0, 0), (0, 2), (1, 3)]


class TracingTracker:
    """Gives every instance the id 1 and writes down what it was asked."""

    def __init__(self, trace: list[tuple[Any, ...]]) -> None:
        self.trace = trace

    def update(
        self, instances: Instances | None, *, pts_s: float, image_size: tuple[int, int], motion: Any
    ) -> Instances:
        found = "carried" if instances is None else len(instances)
        self.trace.append(("update", found, pts_s, None if motion is None else float(motion[0, 2])))
        if instances is None:
            instances = make_instances(size=image_size)
        return instances.with_tracks(np.ones(len(instances), np.int64))

    def reset(self) -> None:
        self.trace.append(("reset tracker",))

    def snapshot(self) -> dict[str, Any]:
        return {}

    def restore(self, snapshot: Any) -> None:
        self.trace.append(("restore",))


class TracingCamera:
    """Says that the camera moved by the number of the call."""

    def __init__(self, trace: list[tuple[Any, ...]]) -> None:
        self.trace = trace
        self.calls = 0

    def estimate(self, image: Any, exclude: Masks | None = None) -> Any:
        self.calls += 1
        self.trace.append(("estimate", None if exclude is None else len(exclude)))
        return np.array([[1.0, 0.0, self.calls], [0.0, 1.0, 0.0]])

    def reset(self) -> None:
        self.trace.append(("reset camera",))

    def snapshot(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def restore(self, snapshot: Any) -> None:
        self.calls = snapshot["calls"]


def test_camera_motion_is_estimated_around_the_last_instances_and_given_to_the_tracker(
    make_stream: MakeStream,
) -> None:
    trace: list[tuple[Any, ...]] = []
    frames = [*make_frames(2), make_frame(2, epoch=1)]
    make_stream(
        ScriptedSource(frames), tracker=TracingTracker(trace), camera=TracingCamera(trace)
    ).run()
    assert trace == [
        ("estimate", None),
        ("update", 1, 0.0, 1.0),
        ("estimate", 1),
        ("update", 1, 0.1, 2.0),
        ("reset tracker",),
        ("reset camera",),
        ("estimate", None),
        ("update", 1, 0.2, 3.0),
    ]


def test_a_failed_frame_moves_time_and_camera_on_for_the_tracks(make_stream: MakeStream) -> None:
    trace: list[tuple[Any, ...]] = []
    segmenter, sink = ManualSegmenter(), ListSink()
    running = Running(
        make_stream(
            ScriptedSource(make_frames(2)),
            [sink],
            segmenter=segmenter,
            tracker=TracingTracker(trace),
            camera=TracingCamera(trace),
        )
    )
    segmenter.wait_for(0, 1)
    segmenter.fail(0)
    segmenter.answer(1)
    running.end()
    assert [step for step in trace if step[0] == "update"] == [
        ("update", "carried", 0.0, 1.0),
        ("update", 1, 0.1, 2.0),
    ]
    assert sink.indices == [1]


def test_only_every_kth_frame_is_segmented_and_the_tracker_carries_the_rest(
    make_stream: MakeStream,
) -> None:
    trace: list[tuple[Any, ...]] = []
    segmenter, sink = ManualSegmenter(), ListSink()
    running = Running(
        make_stream(
            ScriptedSource(make_frames(5)),
            [sink],
            segmenter=segmenter,
            tracker=TracingTracker(trace),
            segment_every=3,
        )
    )
    segmenter.wait_for(0, 3)
    segmenter.answer(3)
    segmenter.answer(0)
    end = running.end()
    assert sorted(index for call in segmenter.submits for index in call) == [0, 3]
    assert [found for _, found, _, _ in trace] == [1, "carried", "carried", 1, "carried"]
    assert sink.indices == [0, 1, 2, 3, 4]
    assert end.counts.published == 5
    assert end.counts.stages["segment"].count == 2


def test_under_overload_an_adaptive_stream_carries_what_it_would_drop(
    make_stream: MakeStream,
) -> None:
    clock, segmenter, sink = ManualClock(), ManualSegmenter(), ListSink()
    trace: list[tuple[Any, ...]] = []
    all_read = threading.Event()
    script = [
        make_frame(0),
        lambda: segmenter.wait_for(0),
        lambda: clock.advance(6.0),  # the next answer is expected to take more than a second
        make_frame(1),
        make_frame(2),
        all_read.set,
    ]
    running = Running(
        make_stream(
            ScriptedSource(script, live=True),
            [sink],
            segmenter=segmenter,
            clock=clock,
            tracker=TracingTracker(trace),
            window=1,
            max_latency_s=1.0,
            adaptive=True,
        )
    )
    all_read.wait()
    segmenter.answer(0)
    segmenter.wait_for(2)
    segmenter.answer(2)
    end = running.end()
    assert sink.indices == [0, 1, 2]
    assert [found for _, found, _, _ in trace] == [1, "carried", 1]
    assert end.counts.dropped == {}


def test_classes_are_filtered_before_the_tracker_sees_them(make_stream: MakeStream) -> None:
    found = make_instances(3)
    mixed = Instances(found.boxes, found.scores, np.array([1, 2, 1], np.int64), found.masks)
    local = LocalSegmenter(StubSegmenter(lambda _: mixed), max_wait_s=0.0)
    trace: list[tuple[Any, ...]] = []
    make_stream(
        ScriptedSource(make_frames(1)),
        segmenter=local,
        tracker=TracingTracker(trace),
        classes=frozenset({2}),
    ).run()
    local.close()
    assert trace == [("update", 1, 0.0, None)]


def test_without_a_tracker_raw_detections_above_the_score_are_published(
    make_stream: MakeStream,
) -> None:
    found = make_instances(3)
    scores = np.array([0.2, 0.5, 0.9], np.float32)
    scored = Instances(found.boxes, scores, found.class_ids, found.masks)
    local = LocalSegmenter(StubSegmenter(lambda _: scored), max_wait_s=0.0)
    sink = ListSink()
    make_stream(ScriptedSource(make_frames(1)), [sink], segmenter=local, min_score=0.5).run()
    local.close()
    instances = sink.results[0].instances
    assert instances.scores.tolist() == pytest.approx([0.5, 0.9])
    assert instances.track_ids is None


def test_a_result_names_its_run_model_and_times(make_stream: MakeStream) -> None:
    sink = ListSink()
    make_stream(ScriptedSource(make_frames(1)), [sink], run="r7").run()
    result = sink.results[0]
    assert (result.run, result.model, result.labels[1]) == ("r7", "blob", "red")
    assert set(result.timings) == {"decode", "queue", "segment", "track"}
    assert result.key == "r7:cam:0:0"


def test_the_region_is_looked_at_and_instances_outside_are_not_published(
    make_stream: MakeStream,
) -> None:
    class LeftHalf:
        def look(self, frame: Frame) -> Frame:
            return make_frame(frame.index, size=(12, 24))

        def keep(self, instances: Instances) -> Instances:
            return instances[:0]

    seen: list[tuple[int, ...]] = []

    def find(image: Any) -> Instances:
        seen.append(image.shape)
        return make_instances(size=(12, 16))

    local = LocalSegmenter(StubSegmenter(find), max_wait_s=0.0)
    sink = ListSink()
    make_stream(ScriptedSource(make_frames(1)), [sink], segmenter=local, region=LeftHalf()).run()
    local.close()
    assert seen == [(12, 24, 3)]
    assert len(sink.results[0].instances) == 0
    assert sink.results[0].size == (12, 16)


# -- whatever happens ------------------------------------------------------------------------------


@st.composite
def scripts(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(0, 25))
    return {
        "count": count,
        "epochs": draw(st.sets(st.integers(0, 24), max_size=3)),
        "breaks": draw(st.booleans()),
        "poison": draw(st.sets(st.integers(0, 24), max_size=5)),
        "live": draw(st.booleans()),
        "stop_at": draw(st.none() | st.integers(0, 24)),
        "abort_at": draw(st.none() | st.integers(0, 24)),
        "sink_error_at": draw(st.none() | st.integers(0, 24)),
        "max_fps": draw(st.none() | st.sampled_from([3.0, 5.0])),
        "window": draw(st.integers(1, 6)),
        "buffer": draw(st.integers(1, 3)),
        "max_batch": draw(st.integers(1, 4)),
    }


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(script=scripts())
def test_for_any_script_the_balance_holds_and_order_is_kept(
    make_stream: MakeStream, script: dict[str, Any]
) -> None:
    account = StreamAccount("cam")
    unbalanced: list[StreamCounts] = []

    def look() -> None:
        counts = account.snapshot()
        if not counts.balanced():
            unbalanced.append(counts)

    def find(image: Any) -> Instances:
        look()
        if int(image[0, 0, 0]) in script["poison"]:
            raise SegmentFailed("poison")
        return make_instances(size=image.shape[:2])

    def on_write(result: FrameResult) -> None:
        look()
        if result.index == script["stop_at"]:
            stream.stop()
        if result.index == script["abort_at"]:
            stream.abort()

    at = script["sink_error_at"]
    watched = ListSink(on_write=on_write)
    failing = ListSink(errors={} if at is None else {at: SinkError("gone")})
    steps: list[Any] = [step for frame in _numbered(script) for step in (frame, look)]
    source = ScriptedSource(
        [*steps, OSError("cable")] if script["breaks"] else steps, live=script["live"]
    )
    local = LocalSegmenter(StubSegmenter(find), max_batch=script["max_batch"], max_wait_s=0.0)
    stream = make_stream(
        source,
        [watched, failing],
        segmenter=local,
        account=account,
        **{key: script[key] for key in ("max_fps", "window", "buffer")},
    )
    end = stream.run()
    local.close()

    assert unbalanced == []
    assert end.counts.balanced()
    assert end.counts.in_flight == 0
    assert watched.indices == sorted(set(watched.indices))
    assert end.counts.published == len(watched.results) == end.counts.sinks["s0"].delivered
    assert failing.indices == watched.indices[: len(failing.indices)]
    assert sum(end.counts.failed.values()) <= len(script["poison"])
    assert not script["poison"] & set(watched.indices)
    untouched = script["stop_at"] is None and script["abort_at"] is None
    if untouched and not script["live"]:
        assert end.counts.captured == script["count"]
        assert set(end.counts.dropped) <= {"max_fps"}


def _numbered(script: dict[str, Any]) -> list[Frame]:
    """Frames that carry their number in a corner."""
    frames = []
    epoch, pts_s = 0, 0.0
    for index in range(script["count"]):
        if index in script["epochs"]:
            epoch, pts_s = epoch + 1, 0.0
        image = make_frame(index).image.copy()
        image[0, 0] = index
        frames.append(Frame("cam", epoch, index, pts_s, image))
        pts_s += 0.1
    return frames
