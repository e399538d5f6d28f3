"""No file is both read and written, however it is called, and whatever `--overwrite` says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline import track
from pipeline.cli.app import app
from pipeline.config import Settings, parse
from pipeline.errors import ConfigError
from pipeline.models.mask_rcnn.family import DEMO_FILE
from pipeline.paths import place_of
from pipeline.plan.resolve import resolve
from pipeline.plan.state import state_files
from pipeline.runner import run_local
from workers.running import run as run_on_ray

BYTES = b"these bytes are read, and are the only ones there are"


@pytest.fixture(autouse=True)
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one file of every kind that is read."""
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "own.pth", "own.pth.labels.json", "ca.pem", "secret", "linked"):
        Path(name).write_bytes(BYTES)
    os.link("clip.mp4", "hard.mp4")
    os.symlink("clip.mp4", "soft.mp4")
    os.symlink(tmp_path, "self")
    for folder in ("photos", "photos/deep"):
        Path(folder).mkdir()
        for number in (1, 2):
            cv2.imwrite(f"{folder}/{number}.png", np.zeros((8, 8, 3), np.uint8))
    Path("links").mkdir()
    os.symlink("../photos/deep/1.png", "links/1.png")
    return tmp_path


def settings_of(url: str, *sinks: str, model: Any = None, **source: Any) -> Settings:
    return parse(
        {
            "model": model or {"name": "blob"},
            "sources": [{"id": "a", "url": url, **source}],
            "sinks": list(sinks),
            "run": {"executor": "local", "overwrite": True},
        }
    )


@pytest.mark.parametrize(
    "sinks",
    [
        ("sqlite:a.db", "jsonl:a.db"),
        ("sqlite:a.db", "jsonl:a.db-wal"),
        ("jsonl:a.db-journal", "sqlite:a.db"),
        ("jsonl:a.jsonl", "coco:a.jsonl/b.json"),
        ("jsonl:a.jsonl", "coco:a.jsonl/deep/b.json"),
        ("frames:fr/", "jsonl:fr/00000001.jpg"),
        ("crops:cr/", "jsonl:cr/1.png"),
        ("parquet:pq/", "jsonl:pq/part-00000000.parquet"),
    ],
    ids=" and ".join,
)
def test_what_a_sink_keeps_beside_and_inside_is_its_own(sinks: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"give them different paths"):
        resolve(settings_of("clip.mp4", *sinks))


def test_sinks_stand_side_by_side_and_streams_share_a_database() -> None:
    two = [{"id": name, "url": "clip.mp4"} for name in "ab"]
    sinks = ["sqlite:a.db", "jsonl:{source}.jsonl"]
    resolve(parse({"model": {"name": "blob"}, "sources": two, "sinks": sinks}))
    resolve(settings_of("clip.mp4", "frames:out/a", "jsonl:out/a/a.jsonl", "coco:out/a/a.json"))


@pytest.mark.parametrize(
    ("url", "sink"),
    [
        ("clip.mp4", "video:clip.mp4"),
        ("clip.mp4", "video:./photos/../clip.mp4"),
        ("clip.mp4", "video:self/self/clip.mp4"),
        ("clip.mp4", "video:hard.mp4"),
        ("hard.mp4", "video:clip.mp4"),
        ("soft.mp4", "video:clip.mp4"),
        ("self/clip.mp4", "jsonl:{here}/hard.mp4"),
        ("file://{here}/clip.mp4", "video:clip.mp4"),
        ("photos/1.png", "jsonl:photos/1.png"),
        ("photos", "jsonl:photos/2.png"),
        ("photos/*.png", "coco:photos/2.png"),
        ("photos/1.png", "frames:photos"),
        ("photos", "frames:photos"),
        ("photos", "frames:self/photos/?format=png"),
        ("photos", "jsonl:photos/new.png"),
        ("links/1.png", "frames:photos/deep?format=png"),
        ("links", "frames:photos/deep?format=png"),
        ("links/*.png", "frames:photos/deep?format=png"),
        ("photos/*.png", "frames:photos?format=png"),
        ("photos/**/*.png", "frames:photos/later/still?format=png"),
        ("self/photos/**/*.jpg", "frames:photos/later"),
        ("ph*/*.png", "jsonl:photos/new.png"),
    ],
)
def test_the_source_is_never_written_over(url: str, sink: str, tmp_path: Path) -> None:
    settings = settings_of(url.format(here=tmp_path), sink.format(here=tmp_path))
    with pytest.raises(ConfigError, match="over what is read, the source 'a'") as caught:
        resolve(settings)
    assert "--overwrite" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "url", "sink"),
    [
        ("out/a.segments", "out/a-1.mp4", "video:out/{source}-{start}.mp4?segment=1h"),
        ("out/a/.maskstream-segments", "out/a/a-1.mp4", "hls:out/{source}"),
    ],
)
def test_nor_is_a_file_of_before_that_would_go(listed: str, url: str, sink: str) -> None:
    segment = {"number": 0, "file": "a-1.mp4", "epoch": 0, "frame": 0, "pts_s": 0.0, "ticks": 0}
    Path(listed).parent.mkdir(parents=True)
    Path(listed).write_text(json.dumps(segment | {"size": [2, 2], "breaks": 0}) + "\n")
    shutil.copy("clip.mp4", url)
    with pytest.raises(ConfigError, match="over what is read, the source 'a'"):
        resolve(settings_of(url, sink))
    Path(listed).unlink()
    resolve(settings_of(url, sink))


@pytest.mark.parametrize(
    ("url", "sink"),
    [
        ("clip.mp4", "video:{source}.mp4"),
        ("clip.mp4", "jsonl:clip.jsonl"),
        ("clip.mp4", "frames:."),
        ("photos", "jsonl:photos/{source}.jsonl"),
        ("photos", "frames:photos/annotated"),
        ("photos/*.png", "frames:photos/annotated"),
        ("photos/**/1.png", "frames:photos/later"),
        ("photos", "frames:photos/deep/new"),
    ],
)
def test_beside_what_is_read_there_is_room(url: str, sink: str) -> None:
    resolve(settings_of(url, sink))


@pytest.mark.parametrize(
    ("more", "path", "what"),
    [
        ({"model": {"weights": "own.pth", "name": "maskrcnn_resnet50_fpn"}}, "own.pth", "weights"),
        (
            {"model": {"weights": "own.pth", "name": "maskrcnn_resnet50_fpn"}},
            "own.pth.labels.json",
            "weights",
        ),
        ({}, str(DEMO_FILE), "weights"),
        ({"tls_ca_file": "ca.pem"}, "ca.pem", "tls_ca_file of the source 'a'"),
        ({"username": "u", "password_file": "secret"}, "secret", "password_file of the source"),
    ],
    ids=["weights", "labels", "bundled weights", "certificate", "password"],
)
def test_nor_is_anything_else_that_is_read(more: dict[str, Any], path: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"would write .* over what is read, (the )?{what}"):
        resolve(settings_of("rtsp://camera/1", f"jsonl:{path}", **more))


def test_nor_is_a_file_that_a_sink_reads() -> None:
    Path("ids.json").write_text('{"images": []}')
    with pytest.raises(
        ConfigError, match=r"over what is read, what 'coco:.*images=ids.json' reads"
    ):
        resolve(settings_of("photos", "coco:./ids.json?images=ids.json"))


def test_what_a_sink_reads_has_to_be_there() -> None:
    with pytest.raises(ConfigError, match=r"images=gone.json': gone.json is no file that can be"):
        resolve(settings_of("photos", "coco:o.json?images=gone.json"))


def test_nor_is_the_configuration(tmp_path: Path) -> None:
    Path("c.yaml").write_text(
        "model: {name: blob}\nsources: [{id: a, url: clip.mp4}]\nsinks: ['jsonl:./c.yaml']\n"
        "run: {overwrite: true, executor: local}\n"
    )
    before = Path("c.yaml").read_bytes()
    for command in ("check", "run"):
        done = CliRunner().invoke(app, [command, "c.yaml"])
        assert "over what is read, the configuration: c.yaml" in str(done.exception)
    assert Path("c.yaml").read_bytes() == before


def test_two_outputs_are_two_files_whatever_they_are_called() -> None:
    Path("x.jsonl").write_text("")
    os.link("x.jsonl", "y.jsonl")
    for sinks in (("jsonl:x.jsonl", "coco:y.jsonl"), ("jsonl:z", "coco:self/z")):
        with pytest.raises(ConfigError, match="would write the same file"):
            resolve(settings_of("clip.mp4", *sinks))


def test_nor_is_state_and_output_one_file() -> None:
    settings = settings_of("clip.mp4", "jsonl:x")
    state = settings.model_copy(
        update={"run": settings.run.model_copy(update={"state_dir": "state"})}
    )
    planned = resolve(state)
    (checkpoint, *_) = state_files(planned, planned.streams[0])
    Path("state").mkdir()
    os.link("clip.mp4", checkpoint)
    with pytest.raises(ConfigError, match="the state of the source 'a' would write"):
        resolve(state)


def by_command_line(url: str, sink: str) -> None:
    arguments = ["track", url, "--sink", sink, "--overwrite", "--local", "--model", "blob"]
    done = CliRunner().invoke(app, arguments)
    assert done.exception is not None
    raise done.exception


def by_api(url: str, sink: str) -> None:
    list(track(url, model="blob", sinks=[sink], overwrite=True))


def in_one_process(url: str, sink: str) -> None:
    run_local(resolve(settings_of(url, sink)))


def on_ray(url: str, sink: str) -> None:
    run_on_ray(resolve(settings_of(url, sink)))


@pytest.mark.parametrize("start", [by_command_line, by_api, in_one_process, on_ray])
@pytest.mark.parametrize(
    ("url", "sink"), [("clip.mp4", "video:hard.mp4"), ("photos", "frames:photos")]
)
def test_it_is_refused_wherever_a_run_is_started(start: Any, url: str, sink: str) -> None:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="over what is read"):
        start(url, sink)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_the_default_output_is_refused_where_it_is_the_source() -> None:
    done = CliRunner().invoke(
        app, ["track", "clip.mp4", "--output", ".", "--overwrite", "--local", "--model", "blob"]
    )
    assert isinstance(done.exception, ConfigError)
    assert Path("clip.mp4").read_bytes() == BYTES


@pytest.mark.parametrize("output", ["found.txt", "self/found.txt", "also.txt", "t.yaml", "aff.txt"])
def test_following_again_writes_over_nothing_it_reads(output: str) -> None:
    for name in ("found.txt", "t.yaml", "aff.txt"):
        Path(name).write_text("")
    os.link("found.txt", "also.txt")
    done = CliRunner().invoke(
        app,
        [
            *("retrack", "found.txt", "--format", "mots", "--fps", "25", "--config", "t.yaml"),
            *("--affines", "aff.txt", "--output", output, "--overwrite"),
        ],
    )
    assert "--output would write" in str(done.exception)
    assert "use --overwrite" not in str(done.exception)


@pytest.mark.parametrize("name", ["a.jsonl", "run.json", "truth.json"])
def test_figures_are_not_written_over_what_is_judged(name: str) -> None:
    Path("out").mkdir()
    for path in (Path("out/a.jsonl"), Path("out/run.json"), Path("truth.json")):
        path.write_text("judged")
    target = name if name == "truth.json" else f"out/{name}"
    done = CliRunner().invoke(app, ["eval", "run", "out", "--gt", "truth.json", "--json", target])
    assert "--json would write" in str(done.exception)
    assert Path(target).read_text() == "judged"


def test_figures_are_not_written_over_tracks_or_their_truth() -> None:
    for folder in ("gt/one/gt", "found"):
        Path(folder).mkdir(parents=True)
    for path in ("gt/one/gt/gt.txt", "found/one.txt"):
        Path(path).write_text("judged")
        arguments = ["eval", "track", "--gt", "gt", "--results", "found", "--format", "mots"]
        done = CliRunner().invoke(app, [*arguments, "--json", path])
        assert "--json would write" in str(done.exception)
        assert Path(path).read_text() == "judged"


def test_a_place_that_is_not_there_yet_is_told_by_the_folder_that_is() -> None:
    assert place_of("new/x") == place_of("self/photos/../new/x")
    assert place_of("new/x") != place_of("photos/new/x")
    os.symlink("new/x", "dangling")
    assert place_of("dangling") == place_of("new/x")
