"""Several runs may leave their output in one folder; all of it is judged, each by its own words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.evaluate import evaluate_run_command
from pipeline.config import parse
from pipeline.errors import ConfigError
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
