"""Several runs may leave their output in one folder; all of it is judged, each by its own words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.evaluate import evaluate_run_command
from pipeline.config import parse
from pipeline.errors import ConfigError, MaskstreamError
from pipeline.evaluation import evaluate_run
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local


def run(folder: Path, id_: str, frames: int, sink: str = "jsonl", **more: Any) -> None:
    settings = parse(
        {
            "model": {"name": "blob"},
            "sources": [
                {"id": id_, "url": f"synthetic://street?seed=3&frames={frames}&size=128x96", **more}
            ],
            "sinks": [f"{sink}:{folder}/{{source}}.{sink}"],
            "run": {"executor": "local", "overwrite": True},
        }
    )
    assert run_local(resolve(settings)).exit_code == 0


def test_every_run_in_a_folder_is_judged(tmp_path: Path) -> None:
    run(tmp_path, "a", 3)
    run(tmp_path, "b", 4)
    assert evaluate_run(tmp_path).tracked_frames == 7


def test_what_was_written_over_is_judged_by_what_the_last_run_says(tmp_path: Path) -> None:
    run(tmp_path, "a", 3, tracker="none")
    (untracked,) = tmp_path.glob("run-*.json")
    run(tmp_path, "a", 4)
    untracked.touch()  # of the two the one that counts wrote the records, not the later one
    assert evaluate_run(tmp_path).tracked_frames == 4


def test_a_run_without_records_beside_them_and_files_of_others_do_no_harm(tmp_path: Path) -> None:
    run(tmp_path, "a", 3)
    run(tmp_path, "b", 3, sink="coco")
    (tmp_path / "run.json").write_text('{"mine": 1}')
    assert evaluate_run(tmp_path).tracked_frames == 3


def test_figures_replace_figures(tmp_path: Path) -> None:
    run(tmp_path / "run", "a", 3)
    figures = tmp_path / "figures.json"
    for _ in range(2):
        evaluate_run_command(tmp_path / "run", to=figures)
    assert json.loads(figures.read_bytes())["tracked_frames"] == 3


@pytest.mark.parametrize(
    "theirs", ['{"mine": 1}', "[1]", "no json", "\x00"], ids=["object", "list", "text", "bytes"]
)
def test_figures_replace_nothing_else(tmp_path: Path, theirs: str) -> None:
    run(tmp_path / "run", "a", 3)
    other = tmp_path / "notes.json"
    other.write_text(theirs)
    with pytest.raises(ConfigError, match=r"notes\.json: exists already and is no report of eval"):
        evaluate_run_command(tmp_path / "run", to=other)
    assert other.read_text() == theirs


SOURCE = {"id": "a", "url": "synthetic://street?seed=3&frames=3&size=128x96", "tracker": "none"}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({}, r"is not a manifest of a run \(schema maskstream\.run/1\)"),
        ({"sources": None}, "is damaged: its `sources` do not say id, url and tracker each; run"),
        ({"sources": {}}, "is damaged: its `sources`"),
        ({"sources": ["a"]}, "is damaged: its `sources`"),
        ({"sources": [{"id": "a"}]}, "is damaged: its `sources`"),
        ({"sources": [{**SOURCE, "id": "../a"}]}, "is damaged: its `sources`"),
        ({"sources": [{**SOURCE, "id": 3}]}, "is damaged: its `sources`"),
        ({"sources": [SOURCE], "sinks": "jsonl:"}, "is damaged: its `sinks` are no list of URLs"),
        ({"sources": [SOURCE], "sinks": [3]}, "is damaged: its `sinks`"),
        (
            {"sources": [{**SOURCE, "id": "gone"}]},
            r"gone\.jsonl is missing; a run is judged by its",
        ),
        ({"sources": []}, "no truth is known for the sources of this run"),
        ({"sources": [{**SOURCE, "url": "synthetic://moon"}]}, "unknown scene 'moon'"),
        (
            {"sources": [{**SOURCE, "url": "synthetic://street?size=96x96"}]},
            "has 96x96 pixels in frame 0 of a, which was published with 128x96",
        ),
    ],
)
def test_a_manifest_that_is_none_or_is_damaged_is_a_line(
    tmp_path: Path, manifest: dict[str, Any], message: str
) -> None:
    run(tmp_path, "a", 3)
    (own,) = tmp_path.glob("run-*.json")
    schema = {"schema": "maskstream.run/1"} if manifest else {}
    own.write_text(json.dumps({**schema, **manifest}))
    with pytest.raises(ConfigError, match=message) as caught:
        evaluate_run(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
@pytest.mark.parametrize("name", ["a.jsonl", "run-0.json"])
def test_records_and_manifests_that_are_no_files_are_a_line(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    text = json.dumps({"schema": "maskstream.run/1", "sources": [SOURCE]})
    (tmp_path / "run-0.json").write_text(text)
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    with pytest.raises(MaskstreamError, match=r"not a regular file|Is a directory"):
        evaluate_run(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image_id": 0, "category_id": 1}, "'segmentation' is missing of an annotation"),
        ({"image_id": 0, "category_id": 1, "segmentation": [[1, 2]]}, r"truth\.json: "),
        ({"image_id": 0, "category_id": 1, "segmentation": 5}, r"truth\.json: "),
        ({"image_id": 0, "category_id": 1, "segmentation": {"size": [9, 9], "counts": "0"}}, "tr"),
        (
            {"image_id": 0, "category_id": "a", "segmentation": [[0, 0, 9, 0, 9, 9]]},
            r"truth\.json: ",
        ),
    ],
)
def test_an_annotation_that_cannot_be_is_a_line(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    run(tmp_path, "a", 1)
    truth = {"images": [{"id": 0}], "categories": [{"id": 1, "name": "car"}], "annotations": [row]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    with pytest.raises(ConfigError, match=message) as caught:
        evaluate_run(tmp_path, gt=tmp_path / "truth.json")
    assert "\n" not in str(caught.value)
