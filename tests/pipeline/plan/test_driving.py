"""Two runs never have the same state at one time, and what was made for that goes again."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.plan import RunPlan
from pipeline.plan.driving import driving
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan_of(*names: str, output: str = "out", **run: Any) -> RunPlan:
    return resolve(
        parse(
            {
                "model": {"name": "blob"},
                "sources": [{"id": n, "url": "synthetic://street?frames=3"} for n in names],
                "sinks": [f"jsonl:{output}/{{source}}.jsonl"],
                "run": {"executor": "local", **run},
            }
        )
    )


def test_a_second_run_on_one_state_dir_is_refused_before_anything_is_touched() -> None:
    with driving(plan_of("a", "b", "c", "d", state_dir="st")):
        with pytest.raises(ConfigError) as refused:
            run_local(plan_of("e", output="elsewhere", state_dir="st"))
        assert os.listdir() == ["st"]
    said = str(refused.value)
    assert re.fullmatch(
        rf"st: in use by another run: pid {os.getpid()} on \S+, since \d{{4}}-.* UTC, "
        r"sources a, b, c and 1 more; stop that one first, or name another "
        r"run.state_dir \(--state-dir\)",
        said,
    )
    assert os.listdir() == []


def test_without_one_the_same_output_is_refused_and_other_output_in_the_folder_is_not() -> None:
    with driving(plan_of("a")):
        with pytest.raises(ConfigError, match=r"/out/\.maskstream: in use by another run: pid "):
            run_local(plan_of("a"))
        run_local(plan_of("b"))
        assert os.listdir("out/.maskstream") != []
    assert not os.path.exists("out/.maskstream")
    run_local(plan_of("a"))
    assert sorted(name for name in os.listdir("out") if not name.startswith("run-")) == [
        *("a.jsonl", "b.jsonl")
    ]


def test_a_run_that_was_given_its_state_already_does_not_take_it_twice() -> None:
    """As a service is, which reads there before it runs."""
    with driving(plan_of("a", state_dir="st")) as plan, driving(plan) as again:
        assert again is plan


def test_a_state_dir_that_was_there_stays_and_one_that_cannot_be_made_is_named() -> None:
    Path("st").mkdir()
    with driving(plan_of("a", state_dir="st")):
        assert os.listdir("st") == ["driver"]
    assert os.listdir("st") == []
    Path("file").touch()
    plan = plan_of("a", state_dir="st")
    with (
        pytest.raises(ConfigError, match=r"^run\.state_dir: file/st cannot be written: Not a dir"),
        driving(replace(plan, state_dir="file/st")),
    ):
        raise AssertionError("it was begun")
