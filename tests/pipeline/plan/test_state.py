"""State belongs to the output it stands in; nobody's is thrown away by somebody else."""

from __future__ import annotations

import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.plan import RunPlan
from pipeline.plan.prepare import prepare
from pipeline.plan.resolve import resolve
from pipeline.plan.state import kept
from pipeline.stream import Checkpoint
from pipeline.stream.standing import Numbers, State


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of one name; for what is settled before a run their content is of no matter."""
    monkeypatch.chdir(tmp_path)
    for folder in ("A", "B"):
        Path(folder).mkdir()
        Path(folder, "video.mp4").write_bytes(folder.encode())


def plan_of(url: str, *sinks: str, **run: Any) -> RunPlan:
    settings = parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": "video", "url": url}],
            "sinks": list(sinks),
            "run": {"state_dir": "state", **run},
        }
    )
    return resolve(settings)


_RUNS: list[object] = []


def begun(plan: RunPlan) -> RunPlan:
    """Prepared, and begun for good: what is made stays though nothing is written."""
    run = prepare(plan).begun()
    _RUNS.append(run)
    return run.__enter__()


def run_of(plan: RunPlan) -> str:
    return begun(plan).streams[0].run


def begin(plan: RunPlan, *, older: bool = False) -> Checkpoint:
    """A run that has written something, and its checkpoint; `older`: as versions before kept it."""
    (stream,) = begun(plan).streams
    positions = {}
    for target in stream.outputs:
        Path(target).parent.mkdir(exist_ok=True)
        Path(target).write_text("line\n")
        name = "jsonl" if target.endswith(".jsonl") else "coco"
        positions[name] = {"path": target, "bytes": 5, "records": 1}
    checkpoint = kept(stream)
    assert checkpoint is not None
    if older:
        assert checkpoint.path == Path("state/video.json")
        Path("state/video.output").unlink()
    checkpoint.save(State(positions))
    return checkpoint


def test_two_runs_with_files_of_one_name_share_a_folder() -> None:
    first = plan_of("A/video.mp4", "jsonl:oA/x.jsonl")
    second = plan_of("B/video.mp4", "jsonl:oB/x.jsonl")
    of_first, of_second = begin(first), begin(second)
    begun(first)  # would be refused if its checkpoint were gone
    begun(second)
    assert of_first.path != of_second.path
    assert of_first.load(["jsonl"]) is not None
    assert of_second.load(["jsonl"]) is not None


def test_two_cameras_of_one_name_have_a_run_each() -> None:
    first = run_of(plan_of("rtsp://one/1", "jsonl:oA/x.jsonl"))
    second = run_of(plan_of("rtsp://two/1", "jsonl:oB/x.jsonl"))
    assert first != second
    assert run_of(plan_of("rtsp://one/1", "jsonl:oA/x.jsonl")) == first


def test_a_camera_that_starts_over_begins_another_run_and_nobody_else_does() -> None:
    plan = plan_of("rtsp://one/1", "jsonl:oA/x.jsonl")
    checkpoint = begin(plan)
    first = checkpoint.reserve(Numbers(1, 7, 3)) or run_of(plan)
    Path("oA/x.jsonl").rename("oA/yesterday.jsonl")
    assert run_of(plan) == first
    assert (checkpoint.load(["jsonl"]), checkpoint.reserved()) == (None, Numbers(1, 7, 3))

    anew = plan_of("rtsp://one/1", "jsonl:oA/x.jsonl", overwrite=True)
    again = begin(anew)
    assert run_of(plan) not in (first, "")
    assert again.reserved() is None  # its numbers begin anew with it
    Path("state/video.run").write_bytes(b"cut")
    run_of(anew)


@pytest.mark.parametrize(("live", "kept_as_it_is"), [(True, True), (False, False), (None, False)])
def test_what_a_camera_published_without_any_state_is_not_begun_anew(
    live: bool | None, kept_as_it_is: bool
) -> None:
    """Only that it begins could be written; what a file did in its first seconds is redone."""
    plan = plan_of("http://one/1", "jsonl:oA/x.jsonl")
    checkpoint = begin(plan)
    checkpoint.save(State({"jsonl": None}, live=live))
    if kept_as_it_is:
        with pytest.raises(ConfigError, match="exists already; use --overwrite"):
            prepare(plan)
    else:
        prepare(plan)
    Path("oA/x.jsonl").write_text("")  # nothing was published
    prepare(plan)


def test_output_that_was_moved_away_before_the_first_checkpoint_is_begun_anew() -> None:
    """The state has positions from before the first frame, and no frame."""
    plan = plan_of("rtsp://one/1", "jsonl:oA/x.jsonl")
    checkpoint = begin(plan)
    assert prepare(plan).plan.streams[0].run == run_of(plan)
    Path("oA/x.jsonl").unlink()
    run_of(plan)
    assert checkpoint.load(["jsonl"]) is None


@pytest.mark.parametrize("damage", [b"", b"cut", b"\xff\xfe", b"0123456789abcdeg"])
def test_the_damaged_run_of_a_camera_is_refused_by_name(damage: bytes) -> None:
    plan = plan_of("rtsp://one/1", "jsonl:oA/x.jsonl")
    run_of(plan)
    Path("state/video.run").write_bytes(damage)
    with pytest.raises(ConfigError) as caught:
        prepare(plan)
    assert str(caught.value) == (
        "state/video.run: cannot read the run of a camera: it is damaged; delete it and "
        "state/video.json to start from the beginning"
    )


def test_where_it_cannot_be_read_whose_state_it_is_nobody_takes_it() -> None:
    Path("state/video.output").mkdir(parents=True)
    with pytest.raises(ConfigError) as caught:
        prepare(plan_of("A/video.mp4", "jsonl:oA/x.jsonl"))
    assert str(caught.value) == (
        "state/video.output: cannot read whose state 'video' is: Is a directory; make it readable, "
        "or name another run.state_dir"
    )


def test_what_others_put_among_states_is_neither_waited_for_nor_followed() -> None:
    Path("state").mkdir()
    os.mkfifo("state/pipe.json")
    Path("state/endless.json").symlink_to("/dev/zero")
    Path("state/deep.json").write_text("[" * 100_000)
    begun(plan_of("A/video.mp4", "jsonl:oA/x.jsonl"))
    assert {path.name for path in Path("state").glob("*.json")} == {
        *("pipe.json", "endless.json", "deep.json")
    }


def test_the_way_the_output_is_written_down_does_not_matter() -> None:
    begin(plan_of("A/video.mp4", "jsonl:oA/x.jsonl"))
    begun(plan_of("A/video.mp4", f"jsonl:{Path.cwd()}/oA/../oA/x.jsonl"))


@pytest.mark.parametrize("url", ["A/video.mp4", "rtsp://one/1"])
def test_state_of_an_earlier_version_is_gone_on_from(url: str) -> None:
    plan = plan_of(url, "jsonl:oA/x.jsonl")
    older = begin(plan, older=True)
    (stream,) = begun(plan).streams
    assert stream.run == json.loads(older.path.read_text())["run"]
    assert stream.checkpoint is not None
    assert Path(stream.checkpoint.path) == older.path


def test_of_two_that_begin_together_one_gets_the_short_name() -> None:
    names = []
    together = threading.Barrier(2)

    def begin_one(folder: str) -> None:
        plan = plan_of(f"{folder}/video.mp4", f"jsonl:o{folder}/x.jsonl")
        together.wait()
        (stream,) = begun(plan).streams
        assert stream.checkpoint is not None
        names.append(Path(stream.checkpoint.path).name)

    threads = [threading.Thread(target=begin_one, args=(folder,)) for folder in "AB"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 2
    assert "video.json" in names


@pytest.mark.parametrize("url", ["A/video.mp4", "rtsp://one/1"])
def test_state_of_an_earlier_version_for_other_output_stays_for_whom_it_is(url: str) -> None:
    older = begin(plan_of(url, "jsonl:oA/x.jsonl"), older=True)
    before = {path: path.read_bytes() for path in Path("state").iterdir()}
    begun(plan_of("B/video.mp4", "jsonl:oB/x.jsonl"))
    assert {path: path.read_bytes() for path in before} == before
    assert older.load(["jsonl"]) is not None


def test_output_of_another_run_is_refused_and_its_state_kept() -> None:
    first = begin(plan_of("A/video.mp4", "jsonl:o/x.jsonl"))
    with pytest.raises(ConfigError, match=r"o/x\.jsonl exists already"):
        prepare(plan_of("B/video.mp4", "jsonl:o/x.jsonl"))
    assert first.load(["jsonl"]) is not None


@pytest.mark.parametrize("older", [False, True])
def test_who_writes_over_part_of_a_runs_output_ends_that_run(older: bool) -> None:
    """Going on from its checkpoint would cut into the middle of what the other has written."""
    first = begin(plan_of("A/video.mp4", "jsonl:o/x.jsonl", "coco:o/x.json"), older=older)
    beside = begin(plan_of("A/video.mp4", "jsonl:beside/x.jsonl"))
    Path("state/mine.json").write_text('{"sinks": {"jsonl": {"path": "o/x.jsonl"}}}')
    first.save(State({"jsonl": {"path": "o/x.jsonl", "bytes": 5}, "coco": None}))
    begun(plan_of("B/video.mp4", "jsonl:o/x.jsonl", overwrite=True))
    assert not first.path.exists()
    assert beside.path.exists()
    assert Path("state/mine.json").exists()


def test_a_folder_of_states_that_is_moved_with_its_output_is_found(tmp_path: Path) -> None:
    plan = plan_of("A/video.mp4", "jsonl:oA/x.jsonl")
    begin(plan)
    shutil.move("state", "kept")
    begun(replace(plan, state_dir=f"{tmp_path}/kept"))


@pytest.mark.parametrize("kept", [None, "state"])
def test_that_holds_for_states_beside_the_output_too(kept: str | None) -> None:
    first = plan_of("A/video.mp4", "jsonl:o/x.jsonl", "coco:o/x.json", state_dir=None)
    state = begin(first)
    assert state.path.parent == Path.cwd() / "o" / ".maskstream"
    begun(plan_of("B/video.mp4", "jsonl:o/x.jsonl", overwrite=True, state_dir=kept))
    assert not state.path.exists()
