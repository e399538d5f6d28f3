"""Streams and segment workers of one supervisor, and what is seen of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.metrics.counts import RunCounts
from pipeline.testing import StubSegmenter, make_instances


def test_two_streams_get_every_frame_in_order_and_the_end_comes_in_the_order_of_the_plan(
    lab: Any,
) -> None:
    machines = lab.machines()
    ends = lab.run(lab.supervisor(lab.plan("b", "a"), machines), machines)
    assert [(end.source_id, end.exit_code) for end in ends] == [("b", 0), ("a", 0)]
    for name in ("a", "b"):
        (sink,) = machines.sinks[name]
        assert sink.indices == list(range(lab.frames))
    assert all(end.counts.balanced() for end in ends)


def test_streams_may_share_a_worker(lab: Any) -> None:
    machines = lab.machines()
    shared = lab.plan("a", "b", "c", streams_per_worker=2)
    ends = lab.run(lab.supervisor(shared, machines), machines)
    assert [(end.source_id, end.counts.published) for end in ends] == [
        ("a", lab.frames),
        ("b", lab.frames),
        ("c", lab.frames),
    ]
    assert [len(worker.streams) for worker in machines.stream_targets] == [2, 1]


def test_files_wait_for_their_turn_and_workers_that_are_done_go(lab: Any) -> None:
    machines = lab.machines(stream_workers=2)
    ids = [f"file-{number}" for number in range(5)]
    seen: list[RunCounts] = []
    supervisor = lab.supervisor(lab.plan(*ids), machines)
    ends = lab.run(supervisor, machines, on_progress=seen.append)
    assert [end.counts.published for end in ends] == [lab.frames] * 5
    assert [stream.state for stream in seen[0].streams[2:]] == ["queued"] * 3
    assert machines.most_at_once == 2
    assert all(worker.dead for worker in machines.streams)


def test_progress_ends_with_the_final_counts(lab: Any) -> None:
    seen: list[RunCounts] = []
    machines = lab.machines()
    lab.run(lab.supervisor(lab.plan("cam"), machines), machines, on_progress=seen.append)
    assert seen[0].streams[0].state == "starting"
    assert seen[-1].streams[0].state == "ended"
    assert seen[-1].streams[0].published == lab.frames
    assert seen[-1].workers[0].worker == "segment-0"
    assert seen[-1].workers[0].frames == lab.frames


def test_a_frame_that_fails_is_counted_and_the_others_are_published(lab: Any) -> None:
    def find(image: NDArray[np.uint8]) -> Instances:
        if image[2, 5, 2] == 255 and image[2, 4, 2] != 255:  # the square of frame 5
            raise ValueError("no")
        return make_instances(size=image.shape[:2])

    machines = lab.machines(lambda: StubSegmenter(find))
    (end,) = lab.run(lab.supervisor(lab.plan("cam"), machines), machines)
    assert end.counts.failed["model_error"] == lab.frames // 8
    assert end.counts.published == lab.frames - lab.frames // 8
    assert end.counts.balanced()
