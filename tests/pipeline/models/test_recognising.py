"""Which model a file is of, by the names and shapes of its tensors alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import models
from pipeline.errors import ModelError
from pipeline.models import Family, Model, recognising
from pipeline.models.mask_rcnn.layout import recognise
from pipeline.models.recognising import name_of, recognised, refuse_other
from pipeline.models.shared.family import Shapes
from pipeline.models.shared.files import WeightsFile, from_bytes

HEAD = "roi_heads.box_predictor.cls_score.weight"
V1 = {HEAD: (91, 1024), "backbone.body.layer1.0.conv3.weight": (256, 64, 1, 1)}


def squares(shapes: Shapes) -> str | None:
    return "squares" if "squares.weight" in shapes else None


def _nothing(*_: object, **__: object) -> object:
    raise AssertionError("nothing is loaded to recognise a file")


SQUARES = Family(load=_nothing, labels=lambda _: {}, recognise=squares)  # type: ignore[arg-type]
CIRCLES = Family(load=_nothing, labels=lambda _: {})  # type: ignore[arg-type]
ROWS = (
    Model("squares", f"{__name__}:SQUARES", ""),
    Model("maskrcnn_resnet50_fpn", "pipeline.models.mask_rcnn.family:FAMILY", ""),
    Model("circles", f"{__name__}:CIRCLES", "refuses by itself what it cannot read"),
)


@pytest.fixture(autouse=True)
def _rows(monkeypatch: pytest.MonkeyPatch) -> None:
    families = {"squares": SQUARES, "circles": CIRCLES}
    own = Model.load
    monkeypatch.setattr(Model, "load", lambda self: families.get(self.name) or own(self))


def holding(shapes: Shapes, **metadata: str) -> WeightsFile:
    """A safetensors file of zeros."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for key, shape in shapes.items():
        header[key] = {"dtype": "U8", "shape": list(shape), "data_offsets": [at, at]}
    data = json.dumps(header).encode()
    return from_bytes(len(data).to_bytes(8, "little") + data, "own.safetensors")


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({}, "maskrcnn_resnet50_fpn"),
        ({"rpn.head.conv.1.0.weight": (256, 256, 3, 3)}, "maskrcnn_resnet50_fpn_v2"),
        (
            {
                "backbone.body.layer3.22.conv1.weight": (256, 1024, 1, 1),
                "backbone.body.layer1.0.conv1.weight": (64, 64, 1, 1),
            },
            "maskrcnn_resnet101_fpn",
        ),
        (
            {
                "backbone.body.layer3.22.conv1.weight": (1024, 1024, 1, 1),
                "backbone.body.layer1.0.conv1.weight": (256, 64, 1, 1),
            },
            "maskrcnn_resnext101_32x8d_fpn",
        ),
        ({"roi_heads.keypoint_predictor.kps_score_lowres.weight": (512, 17, 4, 4)}, None),
    ],
)
def test_a_mask_rcnn_is_told_by_its_body_and_a_keypoint_rcnn_is_none(
    more: Shapes, name: str | None
) -> None:
    assert recognise({**V1, **more}) == name
    assert recognise({HEAD: (91, 1024)}) == "maskrcnn_resnet18_fpn"


def test_the_family_that_knows_the_layout_is_found_among_all() -> None:
    assert recognised(ROWS, {"squares.weight": (1,)}) == "squares"
    assert recognised(ROWS, V1) == "maskrcnn_resnet50_fpn"
    assert recognised(ROWS, {"other": (1,)}) is None


def test_what_a_file_says_wins_over_what_it_looks_like() -> None:
    assert name_of(ROWS, holding(V1)) == "maskrcnn_resnet50_fpn"
    assert name_of(ROWS, holding(V1, model="squares")) == "squares"


def test_a_file_nobody_knows_is_told_by_what_is_in_it() -> None:
    with pytest.raises(ModelError) as caught:
        name_of(ROWS, holding({"a.weight": (1,), "b": (), "c": (), "d": ()}))
    assert str(caught.value) == (
        "weights own.safetensors: no model is known with these 4 tensors (a.weight, b, c, ...); "
        "say which model they are of with --model"
    )


def test_a_file_of_another_family_is_refused_by_the_name_of_its_own() -> None:
    squares, maskrcnn, circles = ROWS
    with pytest.raises(ModelError) as caught:
        refuse_other(squares, ROWS, holding(V1))
    assert str(caught.value) == (
        "weights own.safetensors: not of squares: their tensors are those of "
        "maskrcnn_resnet50_fpn; use --model maskrcnn_resnet50_fpn, or leave --model out"
    )
    with pytest.raises(ModelError, match="those of squares; use --model squares"):
        refuse_other(maskrcnn, ROWS, holding({"squares.weight": (2, 2)}))
    refuse_other(maskrcnn, ROWS, holding(V1))
    refuse_other(circles, ROWS, holding(V1))
    refuse_other(squares, ROWS, holding({"unknown": (1,)}))  # left to its own reader


def test_a_layout_no_family_reads_is_called_by_its_name() -> None:
    file = holding({"sem_seg_head.predictor.query_feat.weight": (100, 256)})
    with pytest.raises(ModelError, match="are those of Mask2Former as its authors publish it"):
        refuse_other(ROWS[1], ROWS, file)
    with pytest.raises(ModelError, match="are those of Mask2Former as its authors publish it"):
        name_of(ROWS, file)


def test_a_deformable_solov2_is_called_by_its_name(shared_data: Path) -> None:
    for body in ("r101", "x101"):
        path = shared_data / "golden" / "layouts" / f"solo_solov2_{body}_dcn_fpn.json"
        if not path.is_file():
            pytest.skip(f"no list of published tensors at {path}")
        told = json.loads(path.read_text())["tensors"]
        shapes = {name: tuple(shape) for name, shape, *_ in told}
        assert recognised(models.MODELS.values(), shapes) is None
        assert recognising._told(shapes) == (
            "their tensors are those of SOLOv2 with deformable convolutions (DCN), which is not "
            "read; its plain files are"
        )


def test_the_right_model_is_chosen_from_a_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(holding({**V1, "rpn.head.conv.1.0.weight": (256, 256, 3, 3)}).data)
    assert models.choose(None, str(path)) == ("maskrcnn_resnet50_fpn_v2", str(path))
