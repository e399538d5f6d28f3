"""What a stream asks tracker, camera and region, frame by frame in order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.runtime import Serving
from pipeline.stream import Stream
from pipeline.testing import (
    ListSink,
    ManualClock,
    ManualSegmenter,
    ScriptedSource,
    StubSegmenter,
    make_frame,
    make_frames,
    make_instances,
)

MakeStream = Callable[..., Stream]
Start = Callable[[Stream], Any]


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

    next_id = 1

    def skip_ids(self, first: int) -> None:
        self.trace.append(("skip", first))

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


def test_a_failed_frame_moves_time_and_camera_on_for_the_tracks(
    make_stream: MakeStream, start: Start
) -> None:
    trace: list[tuple[Any, ...]] = []
    segmenter, sink = ManualSegmenter(), ListSink()
    running = start(
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
    make_stream: MakeStream, start: Start
) -> None:
    trace: list[tuple[Any, ...]] = []
    segmenter, sink = ManualSegmenter(), ListSink()
    running = start(
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
    make_stream: MakeStream, start: Start
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
    running = start(
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
    local = Serving(lambda: StubSegmenter(lambda _: mixed), max_wait_s=0.0)
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
    local = Serving(lambda: StubSegmenter(lambda _: scored), max_wait_s=0.0)
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
            return make_frame(frame.index + 4)

        def inside(self, instances: Instances) -> Instances:
            return instances

        def keep(self, instances: Instances) -> Instances:
            return instances[:0]

    seen: list[Any] = []

    def find(image: Any) -> Instances:
        seen.append(image)
        return make_instances(size=(12, 16))

    local = Serving(lambda: StubSegmenter(find), max_wait_s=0.0)
    sink = ListSink()
    make_stream(ScriptedSource(make_frames(1)), [sink], segmenter=local, region=LeftHalf()).run()
    local.close()
    assert [image.tolist() for image in seen] == [make_frame(4).image.tolist()]
    assert len(sink.results[0].instances) == 0
    assert sink.results[0].size == (12, 16)
