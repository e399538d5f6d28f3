"""The same command over other pictures, lists or another model mixes nothing without a word."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.plan import RunPlan
from pipeline.plan.prepare import prepare
from pipeline.plan.resolve import resolve
from pipeline.plan.state import kept
from pipeline.stream.standing import Numbers, State

OTHER = "maskrcnn_resnet50_fpn"
IMAGES = '{"images": [{"id": 7, "file_name": "0.bmp"}, {"id": 8, "file_name": "1.bmp"}]}'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is not looked into before a run: only that it is another matters."""
    monkeypatch.chdir(tmp_path)
    Path("shots").mkdir()
    for name in ("shots/0.bmp", "shots/1.bmp", "clip.mp4"):
        Path(name).write_bytes(b"as it was")
        os.utime(name, ns=(0, 0))
    Path("images.json").write_text(IMAGES)


def plan_of(url: str, *sinks: str, model: str = "blob", **run: Any) -> RunPlan:
    settings = {
        "model": {"name": model},
        "sources": [{"id": "cam", "url": url}],
        "sinks": list(sinks),
        "run": run,
    }
    return resolve(parse(settings))


@pytest.fixture
def begun() -> Callable[..., Path]:
    """A run that was killed in the middle; gives the file its state is in."""
    runs = []

    def begin(plan: RunPlan) -> Path:
        runs.append(prepare(plan).begun())
        (stream,) = runs[-1].__enter__().streams
        positions = {}
        for sink in stream.sinks:
            assert sink.path is not None
            Path(sink.path).parent.mkdir(exist_ok=True)
            Path(sink.path).write_text("line\n")
            positions[sink.name] = {"path": sink.path, "bytes": 5}
        checkpoint = kept(stream)
        assert checkpoint is not None
        checkpoint.save(State(positions, numbers=Numbers(1, 9, 3), live=stream.source.live))
        return checkpoint.path

    return begin


COCO = "coco:out/a.json?images=images.json"


@pytest.mark.parametrize("state_dir", [None, "state"])
@pytest.mark.parametrize(
    ("url", "sink", "changed"),
    [
        pytest.param("shots", COCO, "shots/0.bmp", id="a picture of a folder"),
        pytest.param("shots/*.bmp", "jsonl:out/a.jsonl", "shots/1.bmp", id="of a glob"),
        pytest.param("shots/1.bmp", "jsonl:out/a.jsonl", "shots/1.bmp", id="a picture"),
        pytest.param("clip.mp4", "jsonl:out/a.jsonl", "clip.mp4", id="a video"),
        pytest.param("shots", COCO, "images.json", id="the list of pictures"),
    ],
)
def test_what_was_written_of_other_pictures_is_not_gone_on_with(
    begun: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    state_dir: str | None,
    url: str,
    sink: str,
    changed: str,
) -> None:
    plan = plan_of(url, sink, state_dir=state_dir)
    begun(plan)
    prepare(plan)  # goes on: nothing has changed
    assert "not continued" not in caplog.text
    os.utime(changed, ns=(1, 1))  # of the same size, so that the run is called the same
    with pytest.raises(ConfigError, match=r"exists already; use --overwrite"):
        prepare(plan)
    assert "cam: what is read was " in caplog.text
    assert "now; what is there is not continued" in caplog.text
    prepare(plan_of(url, sink, state_dir=state_dir, overwrite=True))


def test_a_password_file_that_is_renewed_is_nothing_that_is_read(
    begun: Callable[..., Path], tmp_path: Path
) -> None:
    Path("key").write_text("Yh7-first")
    sinks = "jsonl:out/a.jsonl", "redis://127.0.0.1:1?username=u&password_file=key"
    plan = plan_of("shots", *sinks)
    settled = prepare(plan).plan.streams[0].checkpoint
    assert settled is not None
    Path("key").write_text("Yh7-second")
    again = prepare(plan).plan.streams[0].checkpoint
    assert again == settled
    assert settled.read.startswith("2 files of 18 bytes, dates ")


@pytest.mark.parametrize("sink", ["coco:out/a.json", "mots:out/a.txt"])
def test_a_camera_mixes_no_two_models_where_its_lines_do_not_tell_them_apart(
    begun: Callable[..., Path], sink: str
) -> None:
    begun(plan_of("rtsp://one/1", "jsonl:out/a.jsonl", sink, state_dir="state"))
    with pytest.raises(ConfigError) as refused:
        prepare(plan_of("rtsp://one/1", "jsonl:out/a.jsonl", sink, state_dir="state", model=OTHER))
    path = Path(sink.partition(":")[2]).absolute()
    assert str(refused.value) == (
        f"source cam: {path} holds what the model blob has found, and its lines do not say so: it "
        f"is not gone on with by {OTHER} COCO_V1; use another --output, or --overwrite"
    )


def test_a_camera_goes_on_with_another_model_where_every_record_names_it_and_says_so_once(
    begun: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    begun(plan_of("rtsp://one/1", "jsonl:out/a.jsonl", state_dir="state"))
    other = plan_of("rtsp://one/1", "jsonl:out/a.jsonl", state_dir="state", model=OTHER)
    with prepare(other).begun():
        pass
    told = [record.getMessage() for record in caplog.records if "model" in record.getMessage()]
    assert told == [
        f"cam: goes on with the model {OTHER} COCO_V1, it was blob before; every record names its "
        "own"
    ]
    caplog.clear()
    prepare(plan_of("rtsp://one/1", "jsonl:out/a.jsonl", state_dir="state"))
    assert caplog.text == ""


def test_state_of_before_says_nothing_of_either_and_is_gone_on_from(
    begun: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_of("shots", "jsonl:out/a.jsonl")
    path = begun(plan)
    values = json.loads(path.read_text())
    del values["read"], values["model"]
    path.write_text(json.dumps(values))
    prepare(plan)
    assert caplog.text == ""
