"""A family of an installed package is a model like any other, without a change elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

import maskstream
from pipeline import models
from pipeline.cli.app import app
from pipeline.errors import ConfigError

THEIR_CODE = """
from pipeline.models import Family, Model
from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.stages import ModelInfo

LABELS = {number: f"their_{number}" for number in range(1, 7)}

class Segmenter(BlobSegmenter):
    def __init__(self, name, weights):
        super().__init__()
        self.info = ModelInfo(name, LABELS, weights.sha256 if weights else "")

FAMILY = Family(
    load=lambda name, weights, **_: Segmenter(name, weights),
    labels=lambda _: LABELS,
    needs_weights=False,
    wants_gpu=False,
)
HEAVY = Family(load=FAMILY.load, labels=FAMILY.labels)
MODEL = Model("theirs", "their_models:FAMILY", "as blob, by other names", gflop_per_frame=1)
LEARNT = Model("theirs_learnt", "their_models:HEAVY", "the same, of a file")
"""


@pytest.fixture
def their_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "their_models.py").write_text(THEIR_CODE)
    info = tmp_path / "their_models-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-models\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[maskstream.models]\ntheirs = their_models:MODEL\ntheirs_learnt = their_models:LEARNT\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert len(metadata.entry_points(group="maskstream.models")) == 2
    before = set(models.MODELS)
    yield
    for name in set(models.MODELS) - before:
        models.MODELS.forget(name)


@pytest.mark.usefixtures("their_package")
def test_a_model_of_a_package_runs_through_track(
    make_pictures: Callable[..., Path],
) -> None:
    folder = str(make_pictures("clip", 3))
    theirs = list(maskstream.track(folder, model="theirs", tracker="none"))
    ours = list(maskstream.track(folder, model="blob", tracker="none"))
    assert [result.model for result in theirs] == ["theirs"] * len(ours)
    assert theirs[0].labels[1] == "their_1"
    assert [len(result.instances) for result in ours] == [1, 1, 1]
    for one, other in zip(theirs, ours, strict=True):
        assert one.instances.boxes.tolist() == other.instances.boxes.tolist()


@pytest.mark.usefixtures("their_package")
def test_its_weights_are_asked_for_by_what_it_says_of_itself() -> None:
    with pytest.raises(ConfigError, match=r"model theirs has no weights, got 'x\.pth'"):
        models.choose("theirs", "x.pth")
    with pytest.raises(ConfigError, match="model theirs_learnt has no published weights"):
        models.choose("theirs_learnt")
    with pytest.raises(ConfigError, match="weights demo are not for theirs_learnt"):
        models.choose("theirs_learnt", "demo")


@pytest.mark.usefixtures("their_package")
def test_what_is_asked_for_by_name_is_listed_with_the_others() -> None:
    models.choose("theirs")
    said = CliRunner().invoke(app, ["models"]).output
    assert "as blob, by other names" in said
