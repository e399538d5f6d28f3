"""The least a network could cost: floating point operations and bytes of its dense part and heads.

Each convolution or matrix product reads its input and weights once and writes its output once, all
else is fused into it; 2 bytes a number, weights once per batch. No layer can be faster than the
slower of its two ceilings.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN


@dataclass(frozen=True)
class Cost:
    """Per picture."""

    gflop: float
    megabytes: float
    floor_ms: float
    """Sum over the layers of the slower ceiling; 0 without ceilings."""


def cost(
    network: MaskRCNN,
    padded: tuple[int, int],
    *,
    proposals: int,
    detections: int,
    batch: int = 16,
    tflops: float = 0.0,
    tb_per_s: float = 0.0,
) -> Cost:
    """Count one pass on pictures of the padded size (height, width)."""
    layers: list[tuple[float, float]] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.weight
        rows = output.numel() / (output.shape[1] if output.dim() == 4 else output.shape[-1])
        flop = 2.0 * rows * weight.numel()
        if isinstance(module, nn.ConvTranspose2d):
            flop /= module.kernel_size[0] * module.kernel_size[1]
        data = 2.0 * (inputs[0].numel() + output.numel() + weight.numel() / batch)
        layers.append((flop, data))

    kinds = nn.Conv2d | nn.Linear | nn.ConvTranspose2d
    handles = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, kinds)]
    try:
        _pass(network, padded, proposals, detections)
    finally:
        for handle in handles:
            handle.remove()
    floor = 0.0
    if tflops and tb_per_s:
        floor = sum(max(flop / tflops, data / tb_per_s) for flop, data in layers) * 1e-9
    return Cost(sum(flop for flop, _ in layers) / 1e9, sum(data for _, data in layers) / 1e6, floor)


def _pass(network: MaskRCNN, padded: tuple[int, int], proposals: int, detections: int) -> None:
    heads = network.roi_heads
    channels = network.backbone.out_channels
    with torch.device("meta"), torch.inference_mode():
        features = list(network.backbone(torch.empty(1, 3, *padded)).values())
        network.rpn.head(features)
        heads.box_predictor(heads.box_head(torch.empty(proposals, channels, 7, 7)))
        if detections:
            heads.mask_predictor(heads.mask_head(torch.empty(detections, channels, 14, 14)))
