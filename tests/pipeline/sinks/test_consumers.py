"""The consumers of the examples that need no server read what was written, and draw it."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import maskstream
from drawing import pixels
from pipeline.formats.selected import Selection
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.results import FrameResult

EXAMPLES = Path(__file__).parents[3] / "examples"
SINKS = {
    "sqlite": ("sqlite:{}/results.db?spool_mb=16", "{}/results.db"),
    "parquet": ("parquet:{}/{{source}}/?rows=7", "{}"),
    "records": ("jsonl:{}/{{source}}.jsonl", "jsonl:{}/{{source}}.jsonl"),
}

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[FrameResult]]:
    monkeypatch.chdir(tmp_path)
    street = "synthetic://street?size=160x120&frames=40"
    return lambda sink: list(maskstream.track(street, model="blob", sinks=sink, min_score=0))


def instances_of(results: list[FrameResult]) -> list[tuple[int, str, int]]:
    """Frame, label and pixels of each."""
    return [
        (result.index, result.labels[class_id], area)
        for result in results
        for class_id, area in zip(
            result.instances.class_ids.tolist(), result.instances.masks.areas(), strict=True
        )
    ]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, "") for name in SINKS),
        *((name, "mask=polygon") for name in ("sqlite", "parquet")),
    ],
)
def test_the_example_prints_and_draws_every_mask(
    name: str,
    options: str,
    results: Callable[[str], list[FrameResult]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, place = (text.format(tmp_path / "out") for text in SINKS[name])
    found = results(f"{url}&{options}" if options else url)
    runpy.run_path(str(EXAMPLES / f"consume_{name}.py"))["main"](place, "street", "drawn")
    lines = [f"frame {n}: {label} covers {area} pixels" for n, label, area in instances_of(found)]
    assert capsys.readouterr().out.splitlines() == lines
    assert len(lines) > 10
    for result in found:
        path = tmp_path / "drawn" / f"{result.index:08d}.png"
        assert path.exists() == bool(len(result.instances))
        if len(result.instances):
            covered = result.instances.masks.dense().any(axis=0)
            assert np.array_equal(cv2.imread(str(path)).any(axis=2), covered)


@pytest.mark.parametrize("name", ["sqlite", "parquet"])
@pytest.mark.parametrize(
    ("options", "told"), [("mask=none", "{}"), ("fields=track,score", "something")]
)
def test_the_example_says_what_there_is_where_masks_were_left_out(
    name: str,
    options: str,
    told: str,
    results: Callable[[str], list[FrameResult]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, place = (text.format(tmp_path / "out") for text in SINKS[name])
    found = results(f"{url}&{options}")
    runpy.run_path(str(EXAMPLES / f"consume_{name}.py"))["main"](place, "street", "drawn")
    lines = [f"frame {n}: {told.format(label)}" for n, label, _ in instances_of(found)]
    assert capsys.readouterr().out.splitlines() == lines
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize("form", ["rle", "polygon"])
def test_a_mask_with_a_hole_and_two_parts_is_drawn_in_either_form(form: Any) -> None:
    dense = np.ones((1, 6, 8), bool)
    dense[0, 2:4, 3:5] = False
    dense[0, :, 6] = False
    one = Instances(
        np.array([[0, 0, 8, 6]], np.float32),
        np.ones(1, np.float32),
        np.ones(1, np.int64),
        Masks.from_dense(dense),
    )
    result = FrameResult("r", "gate", 0, 5, 0.2, None, None, (6, 8), "blob", one, {1: "car"})
    (found,) = Selection(mask=form).record(result)["instances"]
    assert np.array_equal(pixels(found["mask"]), dense[0])
