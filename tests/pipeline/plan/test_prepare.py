"""What is settled once, where a run is started: its inputs, its outputs, its manifest."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import models
from pipeline.config import parse
from pipeline.errors import ConfigError, ModelError, SinkError, SourceOpenError
from pipeline.plan import RunPlan
from pipeline.plan.manifest import manifest
from pipeline.plan.prepare import prepare
from pipeline.plan.resolve import resolve
from pipeline.plan.state import kept
from pipeline.sinks import open_sink
from pipeline.stream.standing import State


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Not a video, but a file with content is all that matters here."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(range(256)) * 10)
    return path


def plan_of(*sources: tuple[str, object], sinks: Any, **run: Any) -> RunPlan:
    settings = parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": id_, "url": str(url)} for id_, url in sources],
            "sinks": sinks,
            "run": run,
        }
    )
    return resolve(settings)


_RUNS: list[object] = []


def begun(plan: RunPlan) -> RunPlan:
    """Prepared, and begun for good: what is made stays though nothing is written."""
    run = prepare(plan).begun()
    _RUNS.append(run)
    return run.__enter__()


def runs_of(plan: RunPlan) -> dict[str, str]:
    """By source id, once it is prepared."""
    return {stream.id: stream.run for stream in begun(plan).streams}


def files(tmp_path: Path, clip: Path, **run: Any) -> RunPlan:
    return plan_of(
        ("a", clip),
        ("cam", "rtsp://user:S3cret@cam/1"),
        sinks=[f"jsonl:{tmp_path}/out/{{source}}.jsonl"],
        **run,
    )


def manifests(folder: Path) -> list[Path]:
    return sorted(folder.glob("run-*.json"))


# -- the manifest ----------------------------------------------------------------------------------


def test_the_manifest_says_what_was_run_and_no_secret(clip: Path, tmp_path: Path) -> None:
    plan = begun(files(tmp_path, clip))
    (path,) = manifests(tmp_path / "out")
    written = json.loads(path.read_text())
    assert written == manifest(plan)
    assert written["schema"] == "maskstream.run/1"
    assert written["model"]["name"] == "blob"
    assert [(s["id"], s["run"], s["url"], s["tracker"]) for s in written["sources"]] == [
        ("a", plan.streams[0].run, str(clip), "default"),
        ("cam", plan.streams[1].run, "rtsp://***@cam/1", "default"),
    ]
    assert "S3cret" not in path.read_text()


def test_files_of_others_called_run_json_are_left_alone(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text('{"mine": 1}')
    begun(files(tmp_path, clip, overwrite=True))
    assert (tmp_path / "out" / "run.json").read_text() == '{"mine": 1}'


def test_every_run_into_a_folder_has_a_manifest_of_its_own(clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(b"other")
    sinks = [f"jsonl:{tmp_path}/out/{{source}}.jsonl"]
    begun(plan_of(("a", clip), sinks=sinks))
    begun(plan_of(("other", other), sinks=sinks))
    ids = [json.loads(p.read_text())["sources"][0]["id"] for p in manifests(tmp_path / "out")]
    assert sorted(ids) == ["a", "other"]


def test_the_same_command_again_replaces_its_manifest_though_a_cameras_run_is_new(
    clip: Path, tmp_path: Path
) -> None:
    plan = files(tmp_path, clip)
    first, again = runs_of(plan), runs_of(plan)
    assert again["cam"] != first["cam"]
    (path,) = manifests(tmp_path / "out")
    assert json.loads(path.read_text())["sources"][1]["run"] == again["cam"]


@pytest.mark.parametrize("kind", ["text", "link", "folder"])
def test_what_stands_in_the_place_of_a_manifest_and_is_none_is_kept(
    kind: str, clip: Path, tmp_path: Path
) -> None:
    plan = files(tmp_path, clip, overwrite=True)
    begun(plan)
    (path,) = manifests(tmp_path / "out")
    path.unlink()
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    if kind == "link":
        path.symlink_to(mine)
    elif kind == "folder":
        path.mkdir()
    else:
        mine.rename(path)
    with pytest.raises(ConfigError, match=r"run-.*json: stands where the manifest of this run bel"):
        prepare(plan)
    assert (path if kind == "text" else mine).read_text() == "mine"


def test_a_source_called_run_may_have_a_json_file(tmp_path: Path, clip: Path) -> None:
    plan = plan_of(("run", clip), sinks=[f"coco:{tmp_path}/out/{{source}}.json"])
    begun(plan)
    assert not (tmp_path / "out" / "run.json").exists()


def test_runs_that_are_prepared_at_the_same_moment_do_not_meet(clip: Path, tmp_path: Path) -> None:
    refused: list[BaseException] = []
    together = threading.Barrier(4)

    def begin(name: str) -> None:
        plan = plan_of((name, clip), sinks=[f"jsonl:{tmp_path}/out/{{source}}.jsonl"])
        together.wait()
        try:
            for _ in range(50):
                begun(plan)
        except BaseException as error:  # noqa: BLE001 - told below
            refused.append(error)

    threads = [threading.Thread(target=begin, args=(name,)) for name in ("a", "a", "b", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == []
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_name_that_is_not_utf_8_is_in_the_manifest_and_read_back(tmp_path: Path) -> None:
    clip = tmp_path / os.fsdecode(b"b\xfc\xff.mp4")
    clip.write_bytes(b"content")
    begun(plan_of(("a", clip), sinks=[f"jsonl:{tmp_path}/out/x.jsonl"]))
    (path,) = manifests(tmp_path / "out")
    assert json.loads(path.read_text(encoding="utf-8"))["sources"][0]["url"] == str(clip)


# -- the order of what is looked at ----------------------------------------------------------------


def test_existing_output_is_refused_before_anything_is_written(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cam.jsonl").write_text("precious")
    with pytest.raises(ConfigError, match=r"source cam: .*cam.jsonl exists already; use --overw"):
        prepare(files(tmp_path, clip))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["cam.jsonl"]
    begun(files(tmp_path, clip, overwrite=True))


@pytest.mark.parametrize("name", ["gone.mp4", "gone.png", "file://{}/gone.mp4", "empty"])
def test_where_nothing_can_be_read_nothing_is_made(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    url = name.format(tmp_path) if "://" in name else str(tmp_path / name)
    plan = plan_of(("a", url), sinks=[f"jsonl:{tmp_path}/out/x.jsonl"])
    with pytest.raises(SourceOpenError, match=f"^a: cannot open {url}: (No such|no picture)"):
        prepare(plan)
    assert not (tmp_path / "out").exists()


def test_one_source_that_is_missing_keeps_no_other_waiting(clip: Path, tmp_path: Path) -> None:
    plan = plan_of(
        ("gone", tmp_path / "gone.mp4"), ("a", clip), sinks=[f"jsonl:{tmp_path}/out/{{source}}"]
    )
    assert set(runs_of(plan)) == {"gone", "a"}


def test_a_folder_that_cannot_be_written_is_named(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(ConfigError, match=f"{tmp_path}/out: cannot write there"):
        begun(files(tmp_path, clip))


def test_output_another_process_is_writing_is_refused_and_its_manifest_kept(
    clip: Path, tmp_path: Path
) -> None:
    plan = files(tmp_path, clip, overwrite=True)
    begun(plan)
    (path,) = manifests(tmp_path / "out")
    before = path.read_bytes()
    sink = open_sink(f"jsonl:{tmp_path}/out/a.jsonl", source_id="a", run="r", labels={})
    with pytest.raises(SinkError, match=r"a\.jsonl: another process is writing it"):
        prepare(plan)
    assert path.read_bytes() == before
    sink.close()


def test_weights_are_read_once_for_any_number_of_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(models.local_weights("demo").data)
    for number in range(5):
        (tmp_path / f"{number}.mp4").write_bytes(b"%d" % number)
    plan = resolve(
        parse(
            {
                "model": {"weights": str(weights)},
                "sources": [{"id": f"s{n}", "url": f"{tmp_path}/{n}.mp4"} for n in range(5)],
                "sinks": [f"jsonl:{tmp_path}/out/{{source}}.jsonl"],
            }
        )
    )
    alone = runs_of(replace(plan, streams=plan.streams[3:4]))
    read: list[str] = []
    really = models.read_weights

    def counting(origin: str, bundled: Path | None = None) -> models.WeightsFile:
        read.append(origin)
        return really(origin, bundled)

    monkeypatch.setattr(models, "read_weights", counting)
    ready = prepare(plan)
    assert read == [str(weights)]
    assert {"s3": ready.plan.streams[3].run} == alone
    assert ready.plan.model.name == "maskrcnn_resnet18_fpn"
    assert ready.plan.model.digest == really(str(weights)).sha256
    assert ready.weights == really(str(weights))


def test_checking_reads_no_more_of_weights_than_their_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(models.local_weights("demo").data)

    def refuse(origin: str, bundled: Path | None = None) -> models.WeightsFile:
        raise AssertionError(origin)

    monkeypatch.setattr(models, "read_weights", refuse)
    resolve(
        parse(
            {
                "model": {"weights": str(weights)},
                "sources": [{"id": "a", "url": "x.mp4", "classes": ["car"]}],
            }
        )
    )


def test_weights_that_are_missing_are_named_before_anything_is_made(
    clip: Path, tmp_path: Path
) -> None:
    plan = files(tmp_path, clip)
    model = replace(plan.model, name="maskrcnn_resnet18_fpn", weights="no.pth")
    with pytest.raises(ModelError, match=r"weights no\.pth: no such file"):
        prepare(replace(plan, model=model))
    assert not (tmp_path / "out").exists()


# -- what a start that fails leaves ----------------------------------------------------------------


def below(folder: Path) -> dict[str, bytes]:
    """Every file and folder there is."""
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_start_that_fails_before_the_first_stream_leaves_everything_as_it_was(
    overwrite: bool, clip: Path, tmp_path: Path
) -> None:
    plan = files(tmp_path, clip, state_dir=str(tmp_path / "state"), overwrite=overwrite)
    if overwrite:  # the checkpoint of the output that was to go is still good
        checkpoint = kept(begun(plan).streams[0])
        assert checkpoint is not None
        (tmp_path / "out" / "a.jsonl").write_text("half a run")
        checkpoint.save(State({"jsonl": None}))
    before = below(tmp_path)
    prepare(plan)
    assert below(tmp_path) == before


def test_a_run_that_ends_before_anything_is_written_leaves_no_manifest_and_no_folder(
    clip: Path, tmp_path: Path
) -> None:
    plan = plan_of(("a", clip), sinks=[f"jsonl:{tmp_path}/new/out/x.jsonl"])
    with prepare(plan).begun():
        assert len(manifests(tmp_path / "new" / "out")) == 1
    assert list(tmp_path.iterdir()) == [clip]


def test_what_was_there_before_a_start_that_fails_stays(clip: Path, tmp_path: Path) -> None:
    plan = files(tmp_path, clip)
    begun(plan)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with prepare(plan).begun():
        pass
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".txt"]


# -- state -----------------------------------------------------------------------------------------


def test_output_of_the_same_run_is_not_refused(clip: Path, tmp_path: Path) -> None:
    plan = files(tmp_path, clip, state_dir=str(tmp_path / "state"))
    streams = begun(plan).streams
    (tmp_path / "out" / "a.jsonl").write_text("half a run")
    checkpoint = kept(streams[0])
    assert checkpoint is not None
    checkpoint.save(State({"jsonl": None}))
    assert prepare(plan).plan.streams == streams


def test_overwriting_forgets_the_checkpoint(clip: Path, tmp_path: Path) -> None:
    plan = files(tmp_path, clip, state_dir=str(tmp_path / "state"), overwrite=True)
    streams = begun(plan).streams
    checkpoint = kept(streams[0])
    assert checkpoint is not None
    checkpoint.save(State({"jsonl": None}))
    begun(plan)
    assert not checkpoint.path.exists()
