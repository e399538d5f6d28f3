"""Deformable convolutions: the form for CPUs against torchvision's kernel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.models.shared.deformable import DeformableConv, DeformedConv
from pipeline.models.shared.layers import conv_maker, fold

CPU = torch.device("cpu")


def problem(stride: int, reach: float) -> tuple[DeformableConv, nn.BatchNorm2d, torch.Tensor]:
    torch.manual_seed(3)
    conv = DeformableConv(8, 12, stride)
    conv.conv_offset_mask.weight.data.mul_(reach)
    norm = nn.BatchNorm2d(12).eval()
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 8, 9, 13).contiguous(memory_format=torch.channels_last)
    return conv.eval(), norm, x


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("reach", [0.0, 1.0, 50.0], ids=["nowhere", "near", "far-outside"])
@torch.inference_mode()
def test_taps_read_where_torchvisions_do(stride: int, reach: float) -> None:
    conv, norm, x = problem(stride, reach)
    expected = norm(conv(x)).relu()
    weights = fold(conv, norm)
    make = conv_maker(CPU, torch.float32)
    ours = make(weights, relu=True)(x)
    kernel = DeformedConv(weights, make(weights.offsets, relu=False), CPU, torch.float32, True)
    assert (ours - expected).abs().max() < 2e-5
    assert (kernel(x) - expected).abs().max() < 2e-5


@torch.inference_mode()
def test_a_residual_is_added_before_the_activation_and_overwritten() -> None:
    conv, norm, x = problem(1, 1.0)
    weights = fold(conv, norm)
    make = conv_maker(CPU, torch.float32)
    residual = torch.randn(2, 12, 9, 13).contiguous(memory_format=torch.channels_last)
    expected = (norm(conv(x)) + residual).relu()
    kernel = DeformedConv(weights, make(weights.offsets, relu=False), CPU, torch.float32, True)
    for ran in (make(weights, relu=True), kernel):
        into = residual.clone(memory_format=torch.preserve_format)
        assert (ran(x, into) - expected).abs().max() < 2e-5
        assert (into - expected).abs().max() < 2e-5


@torch.inference_mode()
def test_in_bf16_the_error_is_that_of_its_eight_bits() -> None:
    conv, norm, x = problem(1, 1.0)
    expected = norm(conv(x))
    ours = conv_maker(CPU, torch.bfloat16)(fold(conv, norm), relu=False)(x.bfloat16())
    assert ours.dtype == torch.bfloat16
    assert (ours.float() - expected).abs().mean() < 0.02
