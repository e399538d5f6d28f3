"""What a service keeps is its own alone, and lies in a folder."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from pipeline.cli.serve import _serve
from pipeline.cli.sources import load_service_settings
from pipeline.errors import ConfigError
from pipeline.plan.driving import driving
from pipeline.plan.resolve import resolve


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "service.yaml"


def served(config: Path, state_dir: str | None) -> str:
    """What is said by a service that does not start."""
    run = "" if state_dir is None else f", state_dir: '{state_dir}'"
    config.write_text(f"model: {{name: blob}}\nrun: {{executor: local{run}}}\n")
    with pytest.raises(ConfigError) as refused:
        _serve(config, partial(load_service_settings, config), address=None)
    return str(refused.value)


def test_a_second_service_is_told_of_the_first_before_it_opens_anything(config: Path) -> None:
    config.write_text("model: {name: blob}\nrun: {executor: local, state_dir: st}\n")
    with driving(resolve(load_service_settings(config))):
        assert served(config, "st").startswith(f"st: in use by another run: pid {os.getpid()} on ")
        assert os.listdir("st") == ["driver"]


@pytest.mark.parametrize(
    ("state_dir", "said"),
    [
        (
            None,
            "is missing; a service keeps its streams and how far they came there, name a folder",
        ),
        (
            "s3://shelf/st",
            "is the address of a store; a service keeps its streams in a database, name a folder",
        ),
    ],
)
def test_a_service_without_a_folder_is_refused(
    config: Path, state_dir: str | None, said: str
) -> None:
    assert served(config, state_dir) == f"{config}: run.state_dir: {said}"
