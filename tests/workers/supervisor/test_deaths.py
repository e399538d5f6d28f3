"""Workers that die, models that do not load, machines that are gone."""

import itertools
import threading
from typing import Any

import pytest

from pipeline.errors import MaskstreamError, ModelError
from pipeline.stages import Segmenter
from pipeline.stream import Leave


def test_a_segment_worker_that_dies_in_the_middle_loses_nothing_and_repeats_nothing(
    lab: Any,
) -> None:
    def before_frame(source_id: str, index: int) -> None:
        if index == 20:
            machines.segments[-1].kill()

    machines = lab.machines(before_frame=before_frame)
    supervisor = lab.supervisor(lab.plan("cam"), machines)
    (end,) = lab.run(supervisor, machines)
    (sink,) = machines.sinks["cam"]
    assert sink.indices == list(range(lab.frames))
    assert (end.exit_code, end.counts.published, end.counts.failed) == (0, lab.frames, {})
    assert len(machines.segments) == 2
    assert supervisor.counts().workers[0].restarts == 1


def test_one_of_two_segment_workers_carries_on_while_the_other_is_replaced(lab: Any) -> None:
    numbers = itertools.count()

    def model() -> Segmenter:
        if next(numbers) == 2:
            assert done.wait(20)  # the replacement loads until the run is over
        return lab.stub()

    def before_frame(source_id: str, index: int) -> None:
        if index == 20:
            machines.segments[0].kill()

    done = threading.Event()
    machines = lab.machines(model, segment_workers=2, before_frame=before_frame)
    try:
        (end,) = lab.run(lab.supervisor(lab.plan("cam"), machines), machines)
    finally:
        done.set()
    assert (end.exit_code, end.counts.published) == (0, lab.frames)


def test_a_stream_worker_that_dies_is_started_again_and_the_other_stream_does_not_notice(
    lab: Any,
) -> None:
    killed = threading.Event()

    def before_frame(source_id: str, index: int) -> None:
        if source_id == "a" and index == 10 and not killed.is_set():
            killed.set()
            machines.streams[0].kill()
            machines.stream_targets[0].obey(Leave("as if it had died"), ["a"])

    machines = lab.machines(before_frame=before_frame)
    supervisor = lab.supervisor(lab.plan("a", "b"), machines)
    ends = lab.run(supervisor, machines)
    assert [end.exit_code for end in ends] == [0, 0]
    assert machines.sinks["a"][-1].indices == list(range(lab.frames))
    assert len(machines.sinks["b"]) == 1
    assert supervisor.counts().stream_restarts == {"a": 1, "b": 0}


def test_a_model_that_cannot_be_loaded_ends_the_run_in_its_own_words(lab: Any) -> None:
    def model() -> Segmenter:
        raise ModelError("weights.pth: 81 classes, expected 91")

    machines = lab.machines(model)
    with pytest.raises(ModelError, match=r"^weights\.pth: 81 classes, expected 91$"):
        lab.run(lab.supervisor(lab.plan("cam"), machines), machines)
    assert machines.sinks == {}


def test_without_any_segment_worker_left_the_streams_end_and_say_why(lab: Any) -> None:
    numbers = itertools.count()

    def model() -> Segmenter:
        if next(numbers):
            raise ModelError("the device is gone")
        return lab.stub()

    def before_frame(source_id: str, index: int) -> None:
        if index == 20:
            machines.segments[0].kill()

    machines = lab.machines(model, before_frame=before_frame)
    (end,) = lab.run(lab.supervisor(lab.plan("cam"), machines), machines)
    assert end.exit_code == 1
    assert end.outcome.reason == (
        "no segment worker is left: cannot load the model: the device is gone"
    )
    assert end.counts.balanced()


def test_a_run_whose_machines_are_gone_ends_with_their_line(lab: Any) -> None:
    def before_frame(source_id: str, index: int) -> None:
        if index == 20:
            machines.broken = "the raylet of Ray was ended by signal 9"

    machines = lab.machines(before_frame=before_frame)
    with pytest.raises(MaskstreamError, match=r"^the raylet of Ray was ended by signal 9$"):
        lab.run(lab.supervisor(lab.plan("cam"), machines), machines)
