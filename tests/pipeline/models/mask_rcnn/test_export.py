"""`maskstream export model`: an ONNX file that finds what the engine finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from pipeline import models
from pipeline.cli.app import app
from pipeline.errors import ConfigError
from pipeline.models.mask_rcnn.export import OPSET
from pipeline.sources import open_source


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "demo.onnx"
    wanted = ["export", "model", "--weights", "demo", "--output", str(path)]
    done = CliRunner().invoke(app, wanted)
    assert done.exit_code == 0, done.output
    assert f"demo.onnx: maskrcnn_resnet18_fpn, {path.stat().st_size / 1e6:.1f} MB, opset 17" in (
        done.output
    )
    return path


@pytest.fixture(scope="module")
def pictures() -> list[NDArray[np.uint8]]:
    source = open_source("synthetic://street?seed=5&frames=1&size=320x200", source_id="a")
    image = next(iter(source.frames())).image
    source.stop()
    return [image, np.ascontiguousarray(image[:, 40:300])]


def test_it_says_its_opset_its_labels_and_its_sides(exported: Path) -> None:
    model = onnx.load(exported)
    onnx.checker.check_model(model)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["model"] == "maskrcnn_resnet18_fpn"
    assert json.loads(told["labels"])["3"] == "car"
    assert [output.name for output in model.graph.output] == ["boxes", "labels", "scores", "masks"]


def test_it_finds_what_the_engine_finds_at_sizes_it_was_not_traced_with(
    exported: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    theirs = models.load_segmenter(f"onnx:{exported}", device="cpu", score_threshold=0.5)
    ours = models.load_segmenter(
        "maskrcnn_resnet18_fpn", device="cpu", precision="fp32", score_threshold=0.5
    )
    assert theirs.info.labels == ours.info.labels
    for found, expected in zip(theirs.segment(pictures), ours.segment(pictures), strict=True):
        assert len(found) == len(expected) > 2
        assert found.class_ids.tolist() == expected.class_ids.tolist()
        assert found.scores == pytest.approx(expected.scores, abs=1e-3)
        assert found.boxes == pytest.approx(expected.boxes, abs=0.1)
        assert np.diagonal(found.masks.iou(expected.masks)).min() > 0.99


def test_what_cannot_be_exported_is_refused_before_anything_is_done(
    exported: Path, tmp_path: Path
) -> None:
    def said(*more: str) -> str:
        done = CliRunner().invoke(app, ["export", "model", *more])
        assert isinstance(done.exception, ConfigError)
        return str(done.exception)

    assert said("--model", "blob") == "export model: blob cannot be exported; Mask R-CNNs can"
    wanted = ["--weights", "demo", "--output", str(exported)]
    assert "exists" in said(*wanted)
