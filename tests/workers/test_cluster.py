"""What a worker is told of a run: its own part."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle

from pipeline.config import parse
from pipeline.models import WeightsFile
from pipeline.plan import CheckpointPlan, ModelPlan, RunPlan, StreamPlan
from pipeline.plan.resolve import resolve
from workers import actors
from workers.actors import SegmentSpec, StreamSpec
from workers.cluster import Cluster
from workers.nodes import Nodes
from workers.placement import Node
from workers.private import STATE, PrivateFolder
from workers.surroundings import nameless

COUNT = 1000


@pytest.fixture
def plan() -> RunPlan:
    """A thousand cameras with all that can be said of one, and sinks for all, some and each."""
    ids = [f"camera-{number}" for number in range(COUNT)]
    streams = [
        {
            "id": name,
            "url": f"rtsp://{name}.example:554/stream",
            "username": "viewer",
            "password_env": f"PASSWORD_OF_{name}",
            "include": [[[0, 0], [100, 0], [100, 100], [0, 100]]],
        }
        for name in ids
    ]
    sinks = [
        "jsonl:out/{source}.jsonl",
        {"url": "video:out/{source}.mp4", "sources": ids[: COUNT // 2]},
        *({"url": f"frames:out/{name}", "sources": [name]} for name in ids[:20]),
    ]
    return resolve(parse({"model": {"name": "blob"}, "sources": streams, "sinks": sinks}))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is sent to workers instead of starting them."""
    specs: list[Any] = []

    def start(spec: Any, *args: Any, **options: Any) -> Any:
        specs.append(spec)
        return SimpleNamespace(node="node", ended=False, began=False, gone=None)

    monkeypatch.setattr(actors, "start_stream", start)
    monkeypatch.setattr(actors, "start_segment", start)
    return specs


def cluster(plan: RunPlan, gpus: float = 0.0) -> Cluster:
    made = Cluster(plan, weights_bytes=0, address=None)
    here = Node("node", "here", cores=1, gpus=gpus, here=True)
    made._watch = Nodes(
        here=here,
        listed=lambda: [here],
        start_scout=lambda node_id, *, line: pytest.fail("there is no other node"),
        name="run",
        versions={},
        tokens={},
        used=list,
        node_timeout_s=6.0,
    )
    return made


def started(plan: RunPlan, sent: list[Any], streams: Sequence[StreamPlan]) -> StreamSpec:
    cluster(plan).start_stream(streams, spread=0, again=False)
    (spec,) = sent
    assert isinstance(spec, StreamSpec)
    return spec


def test_a_stream_worker_of_a_thousand_is_sent_less_than_four_kilobytes(
    plan: RunPlan, sent: list[Any]
) -> None:
    assert len(cloudpickle.dumps(started(plan, sent, plan.streams[:1]))) <= 4096


def test_nothing_of_other_sources_reaches_a_worker(plan: RunPlan, sent: list[Any]) -> None:
    data = cloudpickle.dumps(started(plan, sent, plan.streams[7:8]))
    assert b"camera-7" in data
    assert b"camera-8" not in data
    sent.clear()
    cluster(plan).start_segment("segment-0")
    (spec,) = sent
    assert isinstance(spec, SegmentSpec)
    assert b"camera-" not in cloudpickle.dumps(spec)


def test_a_model_that_finds_no_gpu_is_told_to_take_the_cpu(plan: RunPlan, sent: list[Any]) -> None:
    cluster(plan).start_segment("segment-0")
    assert (sent[0].model.device, sent[0].model.threads) == ("cpu", 1)


@pytest.mark.parametrize("workers", [1, {"min": 1, "max": 4}], ids=["fixed", "grows"])
def test_a_model_that_takes_the_place_of_one_has_room_beside_it(
    sent: list[Any], workers: Any
) -> None:
    sources = [{"id": "gate", "url": "rtsp://gate.example/stream"}]
    settings = parse(
        {"model": {"name": "blob"}, "sources": sources, "workers": {"segment": workers}}
    )
    made = cluster(resolve(settings))
    assert made.start_segment("segment-0") is not None
    assert made.bring(ModelPlan(name="blob", weights=None), None)("segment-0-1") is not None


def test_whether_it_takes_a_gpu_is_decided_for_each_model(
    plan: RunPlan, sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    start = actors.start_segment
    monkeypatch.setattr(
        actors,
        "start_segment",
        lambda *given, gpus, **more: asked.append(gpus) or start(*given, **more),
    )
    made = cluster(plan, gpus=2.0)
    other = ModelPlan(name="maskrcnn_resnet50_fpn", weights=None, device="auto")
    made.start_segment("segment-0")
    assert made.segment_workers == 1
    made.bring(other, None)("segment-0-1")
    assert (asked, [spec.model.device for spec in sent]) == ([0.0, 1.0], ["cpu", "auto"])
    made.adopt(other)
    assert made.segment_workers == 2
    made.bring(plan.model, None)("segment-0-2")
    assert asked == [0.0, 1.0, 0.0]


def test_weights_that_a_worker_waited_for_in_vain_are_put_there_again(
    plan: RunPlan, sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds them may lose them: a worker that has never answered has perhaps not got any."""
    weights, put = WeightsFile("demo", b"1", "2"), iter(["first", "second", "third"])
    taken: list[Any] = []

    def start(spec: Any, where: Any, **options: Any) -> Any:
        taken.append(where)
        return SimpleNamespace(node="node", ended=False, began=False, gone=None)

    monkeypatch.setattr(actors, "start_segment", start)
    monkeypatch.setattr("ray.put", lambda what: next(put) if what is weights else None)
    made = cluster(plan)
    made.hand_out(weights)
    good: Any = made.start_segment("segment-0")
    bad: Any = made.start_segment("segment-1")
    good.began = good.ended = bad.ended = True  # one has worked, one has never come up
    made.start_segment("segment-0")
    made.start_segment("segment-1")
    assert taken == ["first", "first", "second", "second"]


def test_relative_paths_start_where_the_driver_stands(plan: RunPlan, sent: list[Any]) -> None:
    assert started(plan, sent, plan.streams[:1]).folder == os.getcwd()


def test_what_a_stream_remembers_within_its_run_lies_where_the_run_says(
    plan: RunPlan, sent: list[Any]
) -> None:
    kept = replace(plan.streams[0], checkpoint=CheckpointPlan(path="state/camera-0.json"))
    made = cluster(plan)
    folder = made._folder = PrivateFolder()
    try:
        made.start_stream([kept, plan.streams[1]], spread=0, again=False)
        own = f"{folder.make(STATE)}/camera-1.json"
    finally:
        folder.remove()
    assert sent[0].streams[0].checkpoint == CheckpointPlan(path="state/camera-0.json")
    assert sent[0].streams[1].checkpoint == CheckpointPlan(path=own)


def test_a_stream_begins_anew_though_one_of_its_id_was_removed_and_goes_on_in_its_next_life(
    plan: RunPlan, sent: list[Any]
) -> None:
    made = cluster(plan)
    folder = made._folder = PrivateFolder()
    try:
        left = [Path(folder.make(STATE), f"camera-1{end}") for end in (".json", ".numbers")]
        other = Path(folder.make(STATE), "camera-2.json")
        for path in (*left, other):
            path.write_text("of the one before")
        made.start_stream([plan.streams[1]], spread=0, again=True)
        assert [path.exists() for path in (*left, other)] == [True, True, True]
        made.start_stream([plan.streams[1]], spread=0, again=False)
        assert [path.exists() for path in (*left, other)] == [False, False, True]
    finally:
        folder.remove()


def test_ray_does_not_see_the_command_line() -> None:
    """It refuses to start where that holds a file name which is not UTF-8."""
    from ray._private import utils

    before = utils.get_entrypoint_name
    with nameless():
        assert utils.get_entrypoint_name() == "maskstream"
    assert utils.get_entrypoint_name is before
