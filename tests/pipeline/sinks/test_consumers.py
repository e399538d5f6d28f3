"""The consumers of the examples that need no server read what was written, and draw it."""

import runpy
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import maskstream
from pipeline.results import FrameResult

EXAMPLES = Path(__file__).parents[3] / "examples"
SINKS = {
    "sqlite": ("sqlite:{}/results.db", "{}/results.db"),
    "parquet": ("parquet:{}/{{source}}/?rows=7", "{}"),
    "records": ("jsonl:{}/{{source}}.jsonl", "jsonl:{}/{{source}}.jsonl"),
}

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[FrameResult]]:
    monkeypatch.chdir(tmp_path)
    street = "synthetic://street?size=160x120&frames=40"
    return lambda sink: list(maskstream.track(street, model="blob", sinks=sink, min_score=0))


@pytest.mark.parametrize("name", SINKS)
def test_the_example_prints_and_draws_every_mask(
    name: str,
    results: Callable[[str], list[FrameResult]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, place = (text.format(tmp_path / "out") for text in SINKS[name])
    found = results(url)
    runpy.run_path(str(EXAMPLES / f"consume_{name}.py"))["main"](place, "street", "drawn")
    lines = [
        f"frame {result.index}: {result.labels[class_id]} covers {area} pixels"
        for result in found
        for class_id, area in zip(
            result.instances.class_ids.tolist(), result.instances.masks.areas(), strict=True
        )
    ]
    assert capsys.readouterr().out.splitlines() == lines
    assert len(lines) > 10
    for result in found:
        path = tmp_path / "drawn" / f"{result.index:08d}.png"
        assert path.exists() == bool(len(result.instances))
        if len(result.instances):
            covered = result.instances.masks.dense().any(axis=0)
            assert np.array_equal(cv2.imread(str(path)).any(axis=2), covered)
