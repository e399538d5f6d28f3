"""`maskstream models`: what is said of each model, from its card."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import execute
from pipeline.cli.app import app
from pipeline.cli.models import briefly, told
from pipeline.cli.speeds import MeasuredSpeed, known_speeds, remember, speeds_path
from pipeline.errors import ConfigError
from pipeline.models import MODELS, Model, ModelCard


@pytest.fixture(autouse=True)
def _a_known_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(execute, "seconds_per_frame", lambda name, *, cores: 4.0)


def test_ap_speed_licences_and_origin_are_said_in_three_lines() -> None:
    assert list(briefly(MODELS["maskrcnn_resnet50_fpn_v2"])) == [
        "maskrcnn_resnet50_fpn_v2: torchvision's stronger one; the default",
        "    mask AP 41.8, about 0.25 frames/s (estimated), code BSD-3-Clause, weights "
        "BSD-3-Clause, as the code: no other statement",
        "    weights: fetched from download.pytorch.org at first use, then kept; needs a network "
        "once",
    ]


def test_one_model_is_told_with_sources_and_file_names() -> None:
    assert list(told(MODELS["maskrcnn_resnet50_fpn"]))[1:] == [
        "mask AP    34.6 (torchvision's table of weights, COCO val2017)",
        "work       440 GFLOP a 16:9 frame",
        "speed      about 0.25 frames/s on this CPU, estimated",
        "code       BSD-3-Clause",
        "licence    of the weights: BSD-3-Clause, as the code: no other statement",
        "weights    fetched from download.pytorch.org at first use, then kept; needs a network "
        "once",
        "by name    COCO_V1",
        "files      maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
    ]


def test_a_model_without_a_card_says_that_nothing_is_published() -> None:
    row = Model("plain", "pipeline.models.mask_rcnn.family:FAMILY", "of a package")
    assert list(briefly(row)) == [
        "plain: of a package",
        "    nothing is published about it",
        "    weights: a file: --weights FILE",
    ]
    assert list(told(row))[1:] == [
        "code       as who made it says",
        "licence    of the weights: as who made them says",
        "weights    a file: --weights FILE",
    ]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_every_model_says_its_licences_and_where_its_weights_come_from(model: Model) -> None:
    card = model.card
    assert isinstance(card, ModelCard)
    assert card.code_licence
    assert card.weights_from
    assert (card.mask_ap is None) == (not card.ap_source)
    assert card.mask_ap is None or 10 < card.mask_ap < 70  # in percent
    if card.files or model.published:
        assert card.weights_licence


def test_all_are_listed_and_a_wrong_name_is_answered_with_the_nearest() -> None:
    said = CliRunner().invoke(app, ["models"])
    first = said.output.splitlines()[: 3 * len(MODELS) : 3]
    assert [line.partition(":")[0] for line in first] == list(MODELS)
    missed = CliRunner().invoke(app, ["models", "maskrcn_resnet50_fpn"])
    assert isinstance(missed.exception, ConfigError)
    assert str(missed.exception) == (
        "model 'maskrcn_resnet50_fpn' is not known, did you mean 'maskrcnn_resnet50_fpn'?"
    )


V1 = MeasuredSpeed(
    "maskrcnn_resnet50_fpn", "cpu", 250.0, 640, 480, "2026-11-29", "maskstream 1, torch 2",
    platform.node(),
)  # fmt: skip
NEWER = replace(V1, ms=125.0, day="2026-12-01")


def test_a_speed_that_was_measured_stands_in_the_place_of_the_estimate() -> None:
    assert remember([V1, replace(V1, device="cuda")]) == remember([NEWER]) == ""
    assert known_speeds() == ([replace(V1, device="cuda"), NEWER], "")
    said = CliRunner().invoke(app, ["models"]).output
    assert "frames/s of 640x480 on cpu, measured on 2026-12-01, code BSD-3-Clause" in said
    assert "about 0.25 frames/s (estimated)" in said  # of others
    said = CliRunner().invoke(app, ["models", V1.model]).output
    assert (
        "speed      8 frames/s of 640x480 on cpu, measured on 2026-12-01 (maskstream 1, torch 2)\n"
    ) in said


def test_what_another_machine_measured_is_kept_and_not_told() -> None:
    elsewhere = replace(V1, host="another")
    remember([elsewhere])
    remember([V1])
    assert known_speeds() == ([V1], "")
    assert len(json.loads(speeds_path().read_text())["speeds"]) == 2


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "JSONDecodeError"),
        ("[1, 2]", "TypeError"),
        ('{"format": 2, "speeds": []}', "it is of format 2, this version reads 1"),
        ('{"format": 1, "speeds": [{"ms": 3}]}', "TypeError"),
        (json.dumps({"format": 1, "speeds": [asdict(V1) | {"ms": 0}]}), "a number that cannot be"),
        (json.dumps({"format": 1, "speeds": [asdict(V1) | {"day": 3}]}), "where a text should be"),
        ("[" * 100_000, "RecursionError"),
    ],
    ids=["empty", "a list", "a later format", "other keys", "no time", "no text", "deep"],
)
def test_a_file_of_something_else_is_left_out_with_a_word_and_replaced(
    text: str, word: str
) -> None:
    speeds_path().parent.mkdir()
    speeds_path().write_text(text)
    said = CliRunner().invoke(app, ["models", V1.model])
    assert said.exit_code == 0
    assert f"{speeds_path()} is left out, it holds no measured speeds: " in said.output
    assert word in said.output
    assert remember([V1]) == ""
    assert known_speeds() == ([V1], "")


def test_a_folder_that_cannot_be_written_is_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds_path().parent.write_text("no folder")
    assert remember([V1]) == (
        f"the speeds are not remembered: cannot write {speeds_path()}: File exists"
    )
