"""RoIAlign against torchvision's own operator."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

from pipeline.models.mask_rcnn.engine.operators.roi_align import (
    levels_of,
    make_layout,
    make_table,
    roi_align,
)

SHAPES = [(48, 64), (24, 32), (12, 16), (6, 8)]
SIZE = (192, 256)


def pyramid(batch: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(0)
    return [
        torch.randn(batch, 16, *shape).to(dtype).contiguous(memory_format=torch.channels_last)
        for shape in SHAPES
    ]


def theirs(levels: list[Tensor], boxes: list[Tensor], size: int) -> Tensor:
    pool = MultiScaleRoIAlign([str(i) for i in range(4)], size, 2)
    features = {str(i): level.float().contiguous() for i, level in enumerate(levels)}
    return pool(features, boxes, [SIZE] * len(boxes)).permute(0, 2, 3, 1)


def ours(levels: list[Tensor], boxes: list[Tensor], size: int) -> Tensor:
    layout = make_layout(SHAPES, len(boxes), torch.device("cpu"))
    pictures = torch.cat([torch.full((len(b),), i) for i, b in enumerate(boxes)])
    return roi_align(make_table(levels), layout, torch.cat(boxes), pictures, size)


def random_boxes(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([256.0, 192.0])
    half = 2.0 ** (torch.rand(count, 2, generator=generator) * 7)
    limit = torch.tensor([256.0, 192.0, 256.0, 192.0])
    return torch.cat([centre - half, centre + half], dim=1).clamp(min=0).minimum(limit)


@pytest.mark.parametrize("size", [7, 14])
def test_boxes_of_all_sizes_in_two_pictures_agree(size: int) -> None:
    levels, boxes = pyramid(2), [random_boxes(200, 1), random_boxes(150, 2)]

    assert torch.allclose(ours(levels, boxes, size), theirs(levels, boxes, size), atol=1e-5)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([0, 0, 0, 0], id="nothing"),
        pytest.param([10, 10, 10, 10], id="point"),
        pytest.param([0, 0, 256, 192], id="everything"),
        pytest.param([255, 191, 256, 192], id="last-pixel"),
        pytest.param([0, 0, 1, 192], id="left-column"),
        pytest.param([-40, -30, 20, 15], id="reaching-out-at-the-top-left"),
        pytest.param([200, 150, 400, 300], id="reaching-out-at-the-bottom-right"),
        pytest.param([300, 250, 340, 280], id="outside"),
    ],
)
def test_boxes_at_the_edge_agree(box: list[float]) -> None:
    levels, boxes = pyramid(1), [torch.tensor([box], dtype=torch.float32)]

    assert torch.allclose(ours(levels, boxes, 7), theirs(levels, boxes, 7), atol=1e-5)


@pytest.mark.parametrize("side", [28, 112, 224, 448])
def test_boxes_at_a_level_boundary_go_where_torchvision_sends_them(side: int) -> None:
    near = [side * (1 + step * 1e-7) for step in range(-8, 9)]
    boxes = torch.tensor([[0, 0, s, s] for s in near])
    mapper_levels = torch.floor(4 + torch.log2((boxes[:, 2] * boxes[:, 3]).sqrt() / 224) + 1e-6)
    layout = make_layout(SHAPES, 1, torch.device("cpu"))

    assert torch.equal(levels_of(boxes, layout), mapper_levels.clamp(2, 5).long() - 2)
    assert torch.allclose(ours(pyramid(1), [boxes], 7), theirs(pyramid(1), [boxes], 7), atol=1e-5)


def test_bf16_features_are_pooled_to_bf16_rounding() -> None:
    levels, boxes = pyramid(1, torch.bfloat16), [random_boxes(100, 3)]

    pooled = ours(levels, boxes, 7)

    assert pooled.dtype == torch.bfloat16
    assert (pooled.float() - theirs(levels, boxes, 7)).abs().max() < 0.03
