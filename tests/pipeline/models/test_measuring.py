"""`maskstream bench models`: each model in a process of its own, one table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.cli.speeds import known_speeds
from pipeline.errors import ConfigError, ModelError
from pipeline.models.measuring import Cost, cost, lines_of, measurable
from pipeline.models.shared.whole_picture import PictureSegmenter
from pipeline.models.untrained import untrained


def test_a_model_is_measured_in_a_process_of_its_own() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    found = cost("maskrcnn_resnet18_fpn", None, image, 5, 1, device="cpu")
    assert (found.name, found.weights) == ("maskrcnn_resnet18_fpn", "demo")
    assert found.instances <= 5
    assert found.ms > 0
    assert 0 <= found.ms_to_runs <= found.ms
    assert found.peak_mb > 20  # the weights alone


def test_condinst_with_random_weights_finds_instances_to_measure() -> None:
    """Detections without extent are left out before there is a mask of them."""
    segmenter = untrained("condinst_resnet50_fpn", score_threshold=0.0, device="cpu")
    assert isinstance(segmenter, PictureSegmenter)
    finder = segmenter._running()
    segmenter._runner = replace(
        finder, input_rule=replace(finder.input_rule, shorter=96, longest=160)
    )
    picture = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    (found,) = segmenter.segment([picture])
    assert len(found) >= 10
    assert len({*found.scores.tolist()}) >= 10  # a threshold leaves as many as are wanted
    assert found.masks.areas().min() > 0


@pytest.mark.parametrize(
    "name",
    [
        "maskrcnn_resnet50_fpn",
        "cascade_mask_rcnn_resnet50_fpn",
        "pointrend_resnet50_fpn",
        "yolact_resnet101",
    ],
)
def test_random_weights_give_scores_of_which_a_threshold_leaves_as_many_as_are_wanted(
    name: str,
) -> None:
    """With norms that do nothing features grow from block to block: all scores are 1, or none."""
    segmenter = untrained(name, score_threshold=0.0, device="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    (found,) = segmenter.segment([picture])
    segmenter.close()
    assert len({*found.scores.tolist()}) == len(found) > 10


def test_what_cannot_be_measured_says_why_and_is_no_end_of_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="model 'nix' is not known"):
        cost("nix", None, np.zeros((4, 4, 3), np.uint8), 1, 1)
    said = (
        CliRunner()
        .invoke(
            app, ["bench", "models", "--model", "nix", "--model", "mask2former", "--size", "160x96"]
        )
        .output.splitlines()
    )
    assert said[0].startswith("model  mask AP  ms a picture  to runs  instances  peak MB  weights")
    assert said[1].startswith("nix: model 'nix' is not known")
    assert said[2].startswith("mask2former: model mask2former is to be told which")


def test_the_table_has_the_published_ap_beside_what_was_measured() -> None:
    rows = lines_of(
        [
            Cost("maskrcnn_resnet50_fpn", "random", 10, 123.456, 7.0, 890.4),
            ("other", ModelError("no such file")),
        ]
    )
    assert rows == [
        "model                  mask AP  ms a picture  to runs  instances  peak MB  weights",
        "maskrcnn_resnet50_fpn     34.6         123.5      7.0         10      890  random",
        "other: no such file",
    ]


def test_all_that_can_be_measured_without_weights_is_by_default() -> None:
    names = measurable()
    assert {"blob", "maskrcnn_resnet50_fpn", "yolact_resnet50", "pointrend_resnet50_fpn"} <= {
        *names
    }
    assert "mask2former" not in names


def test_what_was_measured_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = ["bench", "models", "--model", "blob", "--size", "160x96", "--device", "cpu"]
    assert CliRunner().invoke(app, asked).exit_code == 0
    ((speed,), word) = known_speeds()
    assert word == ""
    assert (speed.model, speed.device, speed.width, speed.height) == ("blob", "cpu", 160, 96)
    assert speed.ms > 0
