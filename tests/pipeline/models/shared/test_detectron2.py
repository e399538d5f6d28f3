"""Names of detectron2's body and pyramid, for every published file there is a list of."""

import json
from pathlib import Path

import pytest
import torch

from pipeline.models.shared.detectron2 import body_name, body_of, is_extra
from pipeline.models.shared.resnet import frozen_fpn


@pytest.fixture(scope="module")
def layouts(shared_data: Path) -> dict[str, dict[str, tuple[int, ...]]]:
    folder = shared_data / "golden"
    files = [*folder.glob("layouts/d2_*.json"), *folder.glob("d2_*/manifest.json")]
    if not files:
        pytest.skip(f"no lists of published tensors in {folder}")
    read = {file: json.loads(file.read_text())["tensors"] for file in files}
    return {
        file.stem if file.parent.name == "layouts" else file.parent.name: {
            name: tuple(shape) for name, shape, *_ in rows
        }
        for file, rows in read.items()
    }


def test_every_tensor_of_body_and_pyramid_has_its_place(
    layouts: dict[str, dict[str, tuple[int, ...]]],
) -> None:
    for name, shapes in layouts.items():
        body = body_of(shapes)
        expected = "resnext101_32x8d" if "x101" in name else f"resnet{50 if 'r50' in name else 101}"
        assert body == expected, name
        with torch.device("meta"):
            backbone = frozen_fpn(body, stride_in_1x1=True)
        own = {body_name(f"backbone.{key}"): v.shape for key, v in backbone.state_dict().items()}
        assert own == {key: s for key, s in shapes.items() if key.startswith("backbone.")}, name


def test_strides_are_moved_in_the_first_block_of_a_stage_alone() -> None:
    with torch.device("meta"):
        first = frozen_fpn("resnet50", stride_in_1x1=True).body
        usual = frozen_fpn("resnet50", stride_in_1x1=False).body
    for body, strides in ((first, ((2, 2), (1, 1))), (usual, ((1, 1), (2, 2)))):
        for stage in (body.layer2, body.layer3, body.layer4):
            assert (stage[0].conv1.stride, stage[0].conv2.stride) == strides
            assert (stage[1].conv1.stride, stage[1].conv2.stride) == ((1, 1), (1, 1))
        assert body.layer1[0].conv1.stride == (1, 1)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("pixel_mean", True),
        ("pixel_std", True),
        ("proposal_generator.anchor_generator.cell_anchors.4", True),
        ("proposal_generator.rpn_head.conv.weight", False),
        ("my_pixel_mean", False),
        ("pixel_mean.weight", False),
    ],
)
def test_constants_of_old_files_are_no_weights(name: str, extra: bool) -> None:
    assert is_extra(name) is extra


def test_another_body_is_not_known() -> None:
    assert body_of({}) is None
    assert body_of({"backbone.bottom_up.res2.0.conv1.weight": (64, 64, 3, 3)}) is None
