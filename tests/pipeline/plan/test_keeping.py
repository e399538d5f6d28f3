"""What stands where a run keeps its state is said for what it is, by `check` too."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.plan.resolve import resolve

WAY_OUT = "; move it away, or name another folder with run.state_dir (--state-dir)"
STATE = "is no folder, and the state of the source 'cam' belongs into it" + WAY_OUT
SPOOL = "is no folder, and what waits for services of the source 'cam' belongs into it" + WAY_OUT


def planned(sink: str, **run: Any) -> None:
    resolve(parse({"sources": [{"id": "cam", "url": "cam.mp4"}], "sinks": [sink], "run": run}))


def link_to_nothing(path: str) -> None:
    os.symlink("nothing", path)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()


@pytest.mark.parametrize("make", [lambda path: Path(path).touch(), os.mkfifo, link_to_nothing])
@pytest.mark.parametrize(
    ("there", "sink", "run", "said"),
    [
        ("out/.maskstream", "jsonl:out/a.jsonl", {}, STATE),
        (".maskstream", "redis://127.0.0.1", {}, STATE),
        (".maskstream", "redis://127.0.0.1", {"resume": False}, SPOOL),
        ("st", "jsonl:out/a.jsonl", {"state_dir": "st"}, STATE),
        ("st", "jsonl:out/a.jsonl", {"state_dir": "st/below/that"}, STATE),
    ],
)
def test_what_is_no_folder_is_named(
    there: str, sink: str, run: dict[str, Any], said: str, make: Callable[[str], None]
) -> None:
    make(there)
    with pytest.raises(ConfigError) as refused:
        planned(sink, **run)
    assert str(refused.value) == f"{Path(there).absolute()}: {said}"


@pytest.mark.parametrize("name", ["cam.json", "cam.numbers", "cam.json.new"])
def test_a_folder_in_place_of_a_state_is_named(name: str) -> None:
    Path("st", name).mkdir(parents=True)
    with pytest.raises(ConfigError) as refused:
        planned("jsonl:out/a.jsonl", state_dir="st")
    assert str(refused.value) == (
        f"st/{name}: is no file, and the state of the source 'cam' belongs there{WAY_OUT}"
    )


def test_an_output_below_a_file_is_refused_where_nothing_is_opened_yet() -> None:
    Path("file").touch()
    inside = Path("file/deep").absolute()
    with pytest.raises(ConfigError) as refused:
        planned("jsonl:file/deep/a.jsonl")
    assert str(refused.value) == (
        f"{inside}: cannot write there: {Path('file').absolute()} is no folder; name another"
    )


def test_a_folder_that_is_reached_by_a_link_is_one() -> None:
    Path("elsewhere").mkdir()
    for there in ("st", "out/.maskstream"):
        os.symlink(Path("elsewhere").absolute(), there)
    planned("jsonl:out/a.jsonl", state_dir="st")
    planned("jsonl:out/a.jsonl")
