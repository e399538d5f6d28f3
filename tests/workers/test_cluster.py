"""What a worker is told of a run: its own part."""

import os
from collections.abc import Sequence
from typing import Any

import pytest
from ray import cloudpickle

from pipeline.config import Settings, SourceSettings, parse
from workers import actors
from workers.actors import SegmentSpec, StreamSpec
from workers.cluster import Cluster
from workers.scaling import Plan
from workers.surroundings import nameless

COUNT = 1000


@pytest.fixture
def settings() -> Settings:
    """A thousand cameras with all that can be said of one, and sinks for all, some and each."""
    ids = [f"camera-{number}" for number in range(COUNT)]
    return parse(
        {
            "model": {"name": "blob"},
            "sources": [
                {
                    "id": name,
                    "url": f"rtsp://{name}.example:554/stream",
                    "username": "viewer",
                    "password_env": f"PASSWORD_OF_{name}",
                    "include": [[[0, 0], [100, 0], [100, 100], [0, 100]]],
                }
                for name in ids
            ],
            "sinks": [
                "jsonl:out/{source}.jsonl",
                {"url": "video:out/{source}.mp4", "sources": ids[: COUNT // 2]},
                *({"url": f"frames:out/{name}", "sources": [name]} for name in ids[:20]),
            ],
        }
    )


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is sent to workers instead of starting them."""
    specs: list[Any] = []
    monkeypatch.setattr(actors, "start_stream", lambda spec, **options: specs.append(spec))
    monkeypatch.setattr(actors, "start_segment", lambda spec, *args, **options: specs.append(spec))
    return specs


def cluster(settings: Settings) -> Cluster:
    runs = {source.id: f"run of {source.id}" for source in settings.sources}
    made = Cluster(settings, runs=runs, weights_bytes=0, address=None)
    made._node_id = "node"
    made._plan = Plan(1, 0.0, threads=1)
    return made


def started(settings: Settings, sent: list[Any], sources: Sequence[SourceSettings]) -> StreamSpec:
    cluster(settings).start_stream(sources, spread=0, again=False)
    (spec,) = sent
    return spec


def test_a_stream_worker_of_a_thousand_is_sent_less_than_four_kilobytes(
    settings: Settings, sent: list[Any]
) -> None:
    spec = started(settings, sent, settings.sources[:1])
    assert len(cloudpickle.dumps(spec)) <= 4096


def test_nothing_of_other_sources_reaches_a_worker(settings: Settings, sent: list[Any]) -> None:
    data = cloudpickle.dumps(started(settings, sent, settings.sources[7:8]))
    assert b"camera-7" in data
    assert b"camera-8" not in data
    sent.clear()
    cluster(settings).start_segment("segment-0")
    (spec,) = sent
    assert isinstance(spec, SegmentSpec)
    assert b"camera-" not in cloudpickle.dumps(spec)


def test_a_stream_has_its_sinks_in_their_order(settings: Settings, sent: list[Any]) -> None:
    source = settings.sources[7]
    spec = started(settings, sent, [source])
    urls = [sink.url for sink in settings.sinks_of(source.id)]
    assert urls == ["jsonl:out/{source}.jsonl", "video:out/{source}.mp4", "frames:out/camera-7"]
    assert [sink.url for sink in spec.settings.sinks_of(source.id)] == urls


@pytest.mark.parametrize("together", [1, 4])
def test_the_share_of_a_stream_is_that_of_the_whole_run(
    settings: Settings, sent: list[Any], together: int
) -> None:
    spec = started(settings, sent, settings.sources[:together])
    share_mb = spec.settings.workers.in_flight_mb / len(spec.settings.sources)
    assert share_mb == pytest.approx(settings.workers.in_flight_mb / COUNT)


def test_relative_paths_start_where_the_driver_stands(settings: Settings, sent: list[Any]) -> None:
    spec = started(settings, sent, settings.sources[:1])
    assert spec.folder == os.getcwd()
    assert spec.runs == {"camera-0": "run of camera-0"}


def test_ray_does_not_see_the_command_line() -> None:
    """It refuses to start where that holds a file name which is not UTF-8."""
    from ray._private import utils

    before = utils.get_entrypoint_name
    with nameless():
        assert utils.get_entrypoint_name() == "maskstream"
    assert utils.get_entrypoint_name is before
