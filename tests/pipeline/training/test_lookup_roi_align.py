"""The quick RoIAlign gives torchvision's numbers, forwards and backwards."""

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign

from pipeline.training.roi import LookupRoIAlign


@pytest.mark.parametrize("bins", [7, 14])
def test_it_equals_torchvision_on_four_levels(bins: int) -> None:
    torch.manual_seed(0)
    size = (96, 128)
    levels = {
        str(i): torch.randn(2, 5, size[0] // stride, size[1] // stride, requires_grad=True)
        for i, stride in enumerate((4, 8, 16, 32))
    }
    corner, extent = torch.rand(2, 30, 2) * 90, 10 ** (torch.rand(2, 30, 2) * 2.5)
    boxes = [torch.cat([c - 20, c - 20 + e], 1) for c, e in zip(corner, extent, strict=True)]
    theirs = MultiScaleRoIAlign(["0", "1", "2", "3"], bins, 2)
    expected = theirs(levels, boxes, [size, size])
    got = LookupRoIAlign(bins)(levels, boxes, [size, size])
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    weight = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weight).sum(), list(levels.values()))
    found = torch.autograd.grad((got * weight).sum(), list(levels.values()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_a_picture_without_boxes_adds_no_rows() -> None:
    levels = {str(i): torch.randn(2, 3, 64 >> i, 64 >> i) for i in range(4)}
    boxes = [torch.zeros(0, 4), torch.tensor([[4.0, 4.0, 40.0, 40.0]])]
    got = LookupRoIAlign(7)(levels, boxes, [(256, 256)] * 2)
    theirs = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    torch.testing.assert_close(got, theirs(levels, boxes, [(256, 256)] * 2), atol=1e-4, rtol=1e-4)
