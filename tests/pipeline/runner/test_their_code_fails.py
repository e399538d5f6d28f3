"""A model or sink of somebody else that fails, or leaves, while it is made: one line and a code."""

from __future__ import annotations

import json
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

class Later:
    def write(self, result, picture):
        if result.source_id == "street" and result.index == 3:
            fail()

    def flush(self):
        return {{}}

    def finish(self, end):
        pass

    close = flush

def later(target):
    return Later()
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
    sinks.SCHEMES.register(Scheme("later", f"{name}:later", "fails later", writes="elsewhere"))
    yield
    models.MODELS.forget("theirs")
    sinks.SCHEMES.forget("theirs")
    sinks.SCHEMES.forget("later")


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


@FAILURES
@pytest.mark.usefixtures("their_code")
def test_a_sink_that_fails_or_leaves_in_the_middle_costs_its_own_stream_alone(reason: str) -> None:
    """As on Ray: what its code leaves with is not what the command leaves with."""
    url = "synthetic://street?frames=5&size=160x96"
    config = {
        "model": {"name": "blob"},
        "sources": [{"id": name, "url": url} for name in ("street", "other")],
        "sinks": ["later:x", "jsonl:out/{source}.jsonl"],
    }
    Path("c.yaml").write_text(json.dumps(config))
    done = CliRunner().invoke(app, ["run", "c.yaml", "--local"])
    assert done.exit_code == 1
    assert "other: complete, 5 of 5 frames\n" in done.stderr
    assert reason in done.stderr.rpartition("street: ")[2]
    assert len(Path("out/street.jsonl").read_text().splitlines()) >= 3
