"""The networks: their layouts, and their fast form against the plain one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.models import recognising
from pipeline.models.shared.files import WeightsFile
from pipeline.models.yolact.dense import YolactDense
from pipeline.models.yolact.designs import DESIGNS
from pipeline.models.yolact.family import MODELS
from pipeline.models.yolact.layout import count_classes, is_unused, name_in_file, recognise
from pipeline.models.yolact.network import Yolact
from pipeline.models.yolact.priors import grids, make_priors
from tests.pipeline.models.yolact.conftest import MAKE

LAYOUTS = {
    "yolact_resnet101": "yolact_r101",
    "yolact_darknet53": "yolact_darknet53",
    "yolact_resnet101_700": "yolact_im700_r101",
    "yolact_plus_resnet101": "yolact_plus_r101",
}


def test_every_model_has_a_design_and_a_row() -> None:
    assert [model.name for model in MODELS] == list(DESIGNS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_tensor_of_a_published_layout_is_used_once(name: str, shared_data: Path) -> None:
    path = shared_data / "golden" / "layouts" / f"{LAYOUTS[name]}.json"
    if not path.is_file():
        pytest.skip(f"no layout at {path}")
    published = json.loads(path.read_text())
    shapes = {name: tuple(shape) for name, shape, _ in published["tensors"]}
    assert count_classes(shapes, "it") == 81
    with torch.device("meta"):
        network = Yolact(DESIGNS[name], 81)
    own = {name_in_file(key): tuple(t.shape) for key, t in network.state_dict().items()}

    assert len(own) == len(network.state_dict())
    assert own == {key: shape for key, shape in shapes.items() if not is_unused(key)}
    assert {key for key in shapes if is_unused(key)} == {
        "semantic_seg_conv.weight",
        "semantic_seg_conv.bias",
    }
    assert published["checkpoint"] in next(m for m in MODELS if m.name == name).card.files
    row = next(m for m in MODELS if m.name == name)
    assert recognise(shapes) == (row.same_tensors_as or name)


def test_the_published_name_of_a_file_tells_700_pixels_from_550(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with torch.device("meta"):
        network = Yolact(DESIGNS["yolact_resnet101"], 81)
    shapes = {name_in_file(key): tuple(t.shape) for key, t in network.state_dict().items()}
    monkeypatch.setattr(recognising, "shapes_of", lambda file: shapes)
    for path, told in (
        ("weights/yolact_im700_54_800000.pth", "yolact_resnet101_700"),
        ("yolact_base_54_800000.pth", "yolact_resnet101"),
        ("yolact_resnet50_54_800000.pth", "yolact_resnet101"),
    ):
        assert recognising.name_of(MODELS, WeightsFile(path, b"", "")) == told


@pytest.mark.parametrize("name", ["backbone.layer1.0.conv1.weight", "fpn.downsample_layers.2.bias"])
def test_what_the_first_version_also_wrote_is_not_needed(name: str) -> None:
    assert is_unused(name)
    assert not is_unused(name.replace("layer1", "layers.1").replace("layers.2", "layers.1"))


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        ({}, "no prediction_layers.0.bbox_layer.weight and prediction_layers.0.conf_layer.weight"),
        ({"bbox": (12, 256, 3, 3), "conf": (242, 256, 3, 3)}, "has 242 rows, expected the backg"),
        ({"bbox": (12, 256, 3, 3), "conf": (3, 256, 3, 3)}, "one a class for each of 3 priors"),
        ({"bbox": (12, 256), "conf": (3, 256, 3, 3)}, "of four axes among 2 tensors"),
    ],
)
def test_a_class_head_that_is_none_is_refused(
    shapes: dict[str, tuple[int, ...]], told: str
) -> None:
    named = {f"prediction_layers.0.{key}_layer.weight": shape for key, shape in shapes.items()}
    with pytest.raises(ModelError, match=told) as refused:
        count_classes(named, "own.pth")
    assert str(refused.value).startswith("weights own.pth: ")


@pytest.mark.parametrize(
    "design",
    [
        pytest.param({}, id="yolact"),
        pytest.param({"darknet": True}, id="darknet"),
        pytest.param(
            {"deformable_every": 1, "octaves": (1.0, 1.26, 1.59), "square_priors": False},
            id="deformable",
        ),
    ],
)
@torch.inference_mode()
def test_the_fast_form_says_what_the_plain_one_says(
    small: Callable[..., Yolact], design: dict[str, object]
) -> None:
    network = small(**design)
    pixels = torch.randn((2, 3, 96, 96), generator=torch.Generator().manual_seed(1))
    plain = network(pixels)
    fast = YolactDense(network, MAKE)(pixels.contiguous(memory_format=torch.channels_last))

    for name in ("boxes", "logits", "coefficients", "prototypes"):
        theirs, ours = getattr(plain, name), getattr(fast, name)
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 2e-5 * max(1.0, float(theirs.abs().max()))
    assert plain.boxes.shape[1] == len(make_priors(network.design))


def test_priors_are_those_of_the_papers() -> None:
    assert grids(550) == [69, 35, 18, 9, 5]
    assert DESIGNS["yolact_resnet101_700"].scales == (30, 61, 122, 244, 488)
    square = make_priors(DESIGNS["yolact_resnet50"])
    assert square.shape == (19248, 4)
    assert np.allclose(square[0], [0.5 / 69, 0.5 / 69, 24 / 550, 24 / 550], atol=1e-8)
    assert (square[:, 2] == square[:, 3]).all()
    plus = make_priors(DESIGNS["yolact_plus_resnet50"])
    assert plus.shape == (57744, 4)
    assert np.allclose(plus[1, 2:], [24 * 0.5**0.5 / 550, 24 * 2**0.5 / 550], atol=1e-8)
