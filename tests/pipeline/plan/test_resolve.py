"""What a run will do is decided once; each stream is told its own part and no more."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from pipeline import sources
from pipeline.config import parse
from pipeline.plan import RunPlan, SourceOptions
from pipeline.plan.resolve import resolve
from pipeline.plan.run import WorkersPlan
from pipeline.plan.shares import in_flight_share, workers_at_once
from pipeline.secrets import SecretRef
from pipeline.turns import Turn

COUNT = 1000


def plan_of(*listed: dict[str, Any], cores: int = 2, **sections: Any) -> RunPlan:
    values = listed or ({"id": "a", "url": "missing.mp4"},)
    settings = parse({"model": {"name": "blob"}, "sources": list(values), **sections})
    return resolve(settings, cores=cores)


@pytest.fixture(scope="module")
def thousand() -> RunPlan:
    """A thousand cameras with all that can be said of one, and sinks for all, some and each."""
    ids = [f"camera-{number}" for number in range(COUNT)]
    return plan_of(
        *(
            {
                "id": name,
                "url": f"rtsp://{name}.example:554/stream",
                "username": "viewer",
                "password_env": f"PASSWORD_OF_{name}",
                "include": [[[0, 0], [100, 0], [100, 100], [0, 100]]],
            }
            for name in ids
        ),
        sinks=[
            "jsonl:out/{source}.jsonl",
            {"url": "video:out/{source}.mp4", "sources": ids[: COUNT // 2]},
            *({"url": f"frames:out/{name}", "sources": [name]} for name in ids[:20]),
        ],
    )


def test_the_plan_of_one_stream_of_a_thousand_takes_less_than_two_kilobytes(
    thousand: RunPlan,
) -> None:
    assert max(len(pickle.dumps(stream)) for stream in thousand.streams) <= 2048


def test_nothing_of_its_neighbours_is_in_a_plan(thousand: RunPlan) -> None:
    data = pickle.dumps(thousand.streams[7])
    assert b"camera-7" in data
    assert b"camera-8" not in data


def test_a_stream_has_its_sinks_in_their_order(thousand: RunPlan) -> None:
    stream = thousand.streams[7]
    assert [(sink.name, sink.url) for sink in stream.sinks] == [
        ("jsonl", "jsonl:out/{source}.jsonl"),
        ("video", "video:out/{source}.mp4"),
        ("frames", "frames:out/camera-7"),
    ]
    assert stream.outputs == [
        str(Path("out", name).absolute()) for name in ("camera-7.jsonl", "camera-7.mp4", "camera-7")
    ]


def test_sinks_of_one_scheme_are_told_apart() -> None:
    plan = plan_of(sinks=["jsonl:o/{source}.jsonl", "jsonl:o/{source}.second", "coco:o/a.json"])
    assert [sink.name for sink in plan.streams[0].sinks] == ["jsonl", "jsonl-2", "coco"]


def test_a_url_is_read_once_however_many_sources_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr("pipeline.sinks.urls.find_spec", lambda name: looked.append(name) or True)
    cameras = [{"id": f"camera-{n}", "url": f"rtsp://host/{n}"} for n in range(5)]
    plan_of(*cameras, sinks=["redis://queue?stream={source}", "parquet:out/{source}/"])
    assert looked == ["redis", "pyarrow"]


def test_a_plan_survives_the_way_to_a_worker(thousand: RunPlan) -> None:
    assert pickle.loads(pickle.dumps(thousand.streams[0])) == thousand.streams[0]


def test_every_setting_of_a_source_has_its_place() -> None:
    (stream,) = plan_of(
        {
            "id": "gate",
            "url": "rtsp://gate/1",
            "min_score": 0.25,
            "classes": ["red"],
            "tracker": "crowd",
            "stride": 3,
            "max_fps": 12.5,
            "segment_every": 2,
            "adaptive": True,
            "max_latency_ms": 400,
            "priority": 2,
            "share": 0.5,
            "max_pixels": 1000,
            "include": [[[0, 0], [9, 0], [9, 9]]],
            "ignore": [[[1, 1], [5, 1], [5, 5]]],
            "open_timeout_s": 1,
            "stall_timeout_s": 2,
            "first_connect_s": 3,
            "read_timeout_s": 4,
            "transport": "udp",
            "tls_verify": False,
            "username": "u",
            "password_file": "secret",
        },
        tracker={"preset": "default", "track_buffer": 2.0},
        workers={"max_batch": 4, "in_flight_mb": 64},
        run={"overwrite": True},
    ).streams
    assert stream.source.options == SourceOptions(
        max_pixels=1000,
        open_timeout_s=1.0,
        stall_timeout_s=2.0,
        first_connect_s=3.0,
        read_timeout_s=4.0,
        transport="udp",
        tls_verify=False,
        username="u",
    )
    assert (stream.id, stream.source.live) == ("gate", True)
    assert stream.source.password == SecretRef(file="secret")
    assert (stream.tracker.preset, stream.tracker.settings) == ("crowd", {"track_buffer": 2.0})
    assert stream.classes == ("red",)
    assert stream.include == (((0.0, 0.0), (9.0, 0.0), (9.0, 9.0)),)
    assert stream.ignore == (((1.0, 1.0), (5.0, 1.0), (5.0, 5.0)),)
    assert stream.overwrite
    assert stream.turn == Turn(priority=2, hurried=True, share=0.5)
    loop = stream.settings
    assert (loop.min_score, loop.stride, loop.max_fps) == (0.25, 3, 12.5)
    assert (loop.segment_every, loop.adaptive, loop.max_latency_s) == (2, True, 0.4)
    assert (loop.window, loop.in_flight_bytes, loop.stop_timeout_s) == (8, 64_000_000, 5.0)


def test_only_a_camera_with_a_latest_time_is_hurried() -> None:
    late = {"max_latency_ms": 400}
    assert plan_of({"id": "a", "url": "rtsp://gate/1"}).streams[0].turn == Turn()
    assert plan_of({"id": "a", "url": "rtsp://gate/1", **late}).streams[0].turn.hurried
    assert not plan_of({"id": "a", "url": "a.mp4", **late}).streams[0].turn.hurried


def test_every_option_of_a_plan_is_one_that_sources_know() -> None:
    known = sources.known_options()
    assert {field.name for field in dataclasses.fields(SourceOptions)} <= known


def test_what_was_left_open_is_decided() -> None:
    plan = plan_of(model={"weights": "demo"})
    assert (plan.model.name, plan.model.weights) == ("maskrcnn_resnet18_fpn", "demo")
    assert plan_of(model={}).model.weights == "COCO_V1"
    assert plan_of(model={"device": "cpu"}).model.name == "maskrcnn_resnet50_fpn"


@pytest.mark.parametrize(
    ("live", "files", "at_once", "share"),
    [
        pytest.param(0, 1, 4, 1000, id="alone"),
        pytest.param(0, 4, 4, 250, id="as many as run at once"),
        pytest.param(0, 200, 4, 250, id="those that wait need none"),
        pytest.param(6, 200, 4, 100, id="cameras do not wait"),
        pytest.param(8, 0, 4, 125, id="cameras alone"),
    ],
)
def test_what_may_be_in_flight_is_shared_by_those_that_run(
    live: int, files: int, at_once: int, share: int
) -> None:
    workers = WorkersPlan(
        segment="auto",
        max_batch=4,
        max_wait_s=0.0,
        batch_timeout_s=1.0,
        streams_per_worker=1,
        at_once=at_once,
        stream_memory_bytes=1e9,
        in_flight_bytes=1000,
    )
    every = [True] * live + [False] * files
    assert in_flight_share(workers, every, executor="ray") == share
    assert in_flight_share(workers, every, executor="local") == 1000 // len(every)


def test_in_one_process_all_files_run_at_the_same_time() -> None:
    clips = [{"id": f"c{n}", "url": f"{n}.mp4"} for n in range(16)]
    alone = plan_of(*clips, workers={"in_flight_mb": 16}, run={"executor": "local"})
    assert alone.streams[0].settings.in_flight_bytes == 1_000_000
    spread = plan_of(*clips, workers={"in_flight_mb": 16, "streams_per_worker": 2})
    assert spread.streams[0].settings.in_flight_bytes == 2_000_000


def test_two_stream_workers_a_core_read_files_and_never_fewer_than_four() -> None:
    assert [workers_at_once(cores=cores) for cores in (1, 2, 3, 64)] == [4, 4, 6, 128]


def test_a_plan_holds_no_secret_but_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_PASSWORD", "S3cret")
    (stream,) = plan_of(
        {"id": "a", "url": "rtsp://g/1", "username": "u", "password_env": "GATE_PASSWORD"}
    ).streams
    assert "S3cret" not in json.dumps(dataclasses.asdict(stream))
    assert stream.source.password.read() == "S3cret"
