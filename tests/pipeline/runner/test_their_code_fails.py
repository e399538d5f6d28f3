"""A model or sink of somebody else that fails, or leaves, while it is made: one line and a code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import models, sinks
from pipeline.cli.app import app
from pipeline.errors import MaskstreamError
from pipeline.models import Model
from pipeline.sinks.schemes import Scheme

THEIR_CODE = """
from dataclasses import replace
from pipeline.models.blob.family import FAMILY as BLOB

def fail(*given, **named):
    raise {error}

FAMILY = replace(BLOB, load=fail)
"""
FAILURES = pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("SystemExit('no licence')", "SystemExit: no licence"),
        ("KeyboardInterrupt()", "KeyboardInterrupt"),
        ("RuntimeError('first\\nsecond')", "RuntimeError: first"),
    ],
)


@pytest.fixture
def their_code(
    error: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[None]:
    name = f"their_code_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(THEIR_CODE.format(error=error))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    models.MODELS.register(Model("theirs", f"{name}:FAMILY", "their model"))
    sinks.SCHEMES.register(Scheme("theirs", f"{name}:fail", "their sink", writes="elsewhere"))
    yield
    models.MODELS.forget("theirs")
    sinks.SCHEMES.forget("theirs")


def track(*words: str) -> tuple[int, str, BaseException | None]:
    source = "synthetic://street?frames=2&size=160x96"
    done = CliRunner().invoke(app, ["track", source, "--local", "--quiet", *words])
    return done.exit_code, done.stderr, done.exception


@FAILURES
@pytest.mark.usefixtures("their_code")
def test_a_model_that_cannot_be_made_ends_the_run_with_its_reason(reason: str) -> None:
    code, _, error = track("--model", "theirs", "--sink", "jsonl:out/a.jsonl")
    assert code == 1
    assert isinstance(error, MaskstreamError)
    ends = (f"loading the model left the process: {reason}", f"cannot load the model: {reason}")
    assert str(error) in ends
    assert not Path("out").exists()


@FAILURES
@pytest.mark.usefixtures("their_code")
def test_a_sink_that_cannot_be_made_fails_its_stream_with_its_reason(reason: str) -> None:
    code, said, _ = track("--model", "blob", "--sink", "theirs:x")
    assert code == 1
    assert f"failed, 0 of 0 frames: {reason}\n" in said
