"""A camera that is started with other sinks goes on in those it has kept, and touches no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.plan import RunPlan, StreamPlan
from pipeline.plan.prepare import prepare, prepare_changed
from pipeline.plan.resolve import resolve
from pipeline.plan.state import claim, kept
from pipeline.stream.standing import Numbers, State

KEPT, OLD, NEW = "jsonl:out/kept.jsonl", "jsonl:out/old.jsonl", "jsonl:out/new.jsonl"
REDIS = "redis://there.example/0"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()


def plan_of(*sinks: str, url: str = "rtsp://gate.example/stream", **run: Any) -> RunPlan:
    values = {"model": {"name": "blob"}, "sources": [{"id": "gate", "url": url}]}
    return resolve(parse({**values, "sinks": list(sinks), "run": {"state_dir": "state", **run}}))


def started(*sinks: str, **more: Any) -> StreamPlan:
    with prepare(plan_of(*sinks, **more)).begun() as plan:
        (stream,) = plan.streams
    return stream


def ran(*sinks: str) -> StreamPlan:
    """It has written a line into each of its files, and is killed."""
    stream = started(*sinks)
    positions = {}
    for sink in stream.sinks:
        positions[sink.name] = {"path": sink.path, "bytes": 5, "records": 1}
        if sink.path is not None:
            Path(sink.path).write_text("line\n")
    checkpoint = kept(stream)
    assert checkpoint is not None
    checkpoint.save(State(positions, live=True, numbers=Numbers(1, 9, 9)))
    return stream


def stands(stream: StreamPlan) -> dict[str, Any]:
    checkpoint = kept(stream)
    assert checkpoint is not None
    state = checkpoint.load([sink.name for sink in stream.sinks])
    return {} if state is None else {name: at and at["path"] for name, at in state.sinks.items()}


def named(stream: StreamPlan) -> dict[str, str]:
    return {sink.name: sink.url for sink in stream.sinks}


def test_a_sink_that_stays_keeps_its_name_and_its_place_whichever_comes_or_goes() -> None:
    before = ran(OLD, KEPT, REDIS)
    assert named(before) == {"jsonl": OLD, "jsonl-2": KEPT, "redis": REDIS}
    after = started(KEPT, NEW, REDIS)
    assert after.run == before.run
    assert named(after) == {"jsonl-2": KEPT, "jsonl-3": NEW, "redis": REDIS}
    assert stands(after) == {"jsonl-2": str(Path("out/kept.jsonl").absolute()), "redis": None}
    assert after.sinks[2].spool == before.sinks[2].spool
    assert Path("out/old.jsonl").read_text() == "line\n"


def test_output_that_is_there_and_of_no_sink_before_is_refused() -> None:
    ran(KEPT)
    Path("out/new.jsonl").write_text("somebody's\n")
    with pytest.raises(ConfigError, match=r"^source gate: .*out/new.jsonl exists already"):
        started(KEPT, NEW)
    assert stands(started(KEPT)).keys() == {"jsonl"}


def test_a_file_begins_anew_with_other_sinks_and_its_output_is_refused() -> None:
    Path("clip.mp4").write_bytes(b"clip")
    stream = started(KEPT, url="clip.mp4")
    checkpoint = kept(stream)
    assert checkpoint is not None
    Path("out/kept.jsonl").write_text("line\n")
    checkpoint.save(State({"jsonl": {"path": stream.sinks[0].path, "bytes": 5, "records": 1}}))
    with pytest.raises(ConfigError, match=r"out/kept.jsonl exists already"):
        started(KEPT, NEW, url="clip.mp4")


def test_while_sinks_change_the_state_is_found_by_either_and_then_by_the_new_ones() -> None:
    now = ran(OLD)
    run = replace(plan_of(OLD), streams=(now,))
    (asked,) = plan_of(NEW).streams
    asked = replace(now, sinks=(replace(asked.sinks[0], name="jsonl-2"),))
    after = prepare_changed(run, now, asked)
    assert after.checkpoint == now.checkpoint
    owner = Path("state/gate.output")
    assert owner.read_text().split() == [str(Path(f"out/{n}.jsonl").absolute()) for n in NAMES]
    checkpoint = kept(after)
    assert checkpoint is not None
    at = {"path": after.sinks[0].path, "bytes": 0, "records": 0}
    checkpoint.save(State({"jsonl": None, "jsonl-2": at}, live=True, numbers=Numbers(1, 9, 9)))
    Path("out/new.jsonl").touch()
    assert started(NEW).run == now.run
    claim(run, after)
    assert owner.read_text().split() == [str(Path("out/new.jsonl").absolute())]
    manifests = [json.loads(path.read_text()) for path in Path("out").glob("run-*.json")]
    assert [NEW] in [one["sinks"] for one in manifests]


NAMES = ("new", "old")


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        pytest.param(OLD, r"out/old.jsonl exists already", id="output"),
        pytest.param(
            "jsonl:state/gate.json", r"would write the same file, .*state/gate.json", id="state"
        ),
        pytest.param("jsonl:/proc/new.jsonl", r"/proc", id="unwritable"),
    ],
)
def test_sinks_that_cannot_come_are_refused_and_all_stays(sink: str, message: str) -> None:
    Path("out/old.jsonl").write_text("somebody's\n")
    now = started(KEPT)
    said = Path("state/gate.output").read_text()
    with pytest.raises(ConfigError, match=message):  # noqa: PT012 - the first may refuse it, too
        (asked,) = plan_of(KEPT, sink).streams
        asked = replace(now, sinks=(now.sinks[0], asked.sinks[1]))
        prepare_changed(replace(plan_of(KEPT), streams=(now,)), now, asked)
    assert Path("state/gate.output").read_text() == said
