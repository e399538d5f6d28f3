"""The network as one chain of fused convolutions; says what `network.Yolact` says."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.shared.backbone import Pyramid, ResNetBody
from pipeline.models.shared.convolution import Conv, ConvMaker
from pipeline.models.shared.layers import fold, stacked
from pipeline.models.yolact import bodies
from pipeline.models.yolact.network import PROTOTYPES, Yolact, YolactOutputs


class YolactDense:
    """Everything up to boxes, classes, coefficients and prototypes, laid out for one device."""

    def __init__(self, network: Yolact, make: ConvMaker) -> None:
        body, pyramid, head = network.backbone, network.fpn, network.head
        self.body = (
            _Darknet(body, make) if isinstance(body, bodies.DarknetBody) else ResNetBody(body, make)
        )
        self._pyramid = Pyramid(
            [make(fold(conv), relu=False) for conv in reversed(pyramid.lat_layers)],
            [make(fold(conv), relu=True) for conv in reversed(pyramid.pred_layers)],
            mode="bilinear",
        )
        self._down = [make(fold(conv), relu=False) for conv in pyramid.downsample_layers]
        convs = [layer for layer in network.proto_net if isinstance(layer, nn.Conv2d)]
        self._coarse = [make(fold(conv), relu=True) for conv in convs[:3]]
        self._fine = [make(fold(conv), relu=True) for conv in convs[3:]]
        self._feature = make(fold(head.upfeature[0]), relu=True)
        outputs = (head.bbox_layer, head.conf_layer, head.mask_layer)
        self._outputs = make(stacked(*map(fold, outputs)), relu=False)
        self._values = (4, network.num_classes, PROTOTYPES)
        self._widths = [layer.out_channels for layer in outputs]

    def __call__(self, pictures: Tensor) -> YolactOutputs:
        """(B, 3, side, side) channels-last, normalised."""
        return self.outputs(self.levels(self.body(pictures)))

    def levels(self, stages: list[Tensor]) -> list[Tensor]:
        """p3 to p7 of what the stages of the body say."""
        levels = self._pyramid(stages[-3:])
        for down in self._down:
            levels.append(down(levels[-1]))
        return levels

    def outputs(self, levels: list[Tensor]) -> YolactOutputs:
        """What is said of p3 to p7."""
        x = levels[0]
        for conv in self._coarse:
            x = conv(x)
        x = F.interpolate(x, scale_factor=2, mode="bilinear")
        for conv in self._fine:
            x = conv(x)
        found = [self._heads(level) for level in levels]
        boxes, logits, coefficients = (torch.cat(part, dim=1) for part in zip(*found, strict=True))
        return YolactOutputs(boxes, logits, coefficients, x)

    def _heads(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        told = self._outputs(self._feature(level)).permute(0, 2, 3, 1)
        parts = told.split(self._widths, dim=3)  # type: ignore[no-untyped-call]
        boxes, logits, coefficients = (
            part.reshape(len(level), -1, values)
            for part, values in zip(parts, self._values, strict=True)
        )
        return boxes, logits, torch.tanh(coefficients)


class _Darknet:
    """Darknet-53, folded."""

    def __init__(self, body: bodies.DarknetBody, make: ConvMaker) -> None:
        def leaky(layer: nn.Module) -> _Leaky:
            conv, norm, _ = layer.children()
            return _Leaky(make(fold(conv, norm), relu=False))

        self._stem = leaky(body.preconv)
        self._stages = []
        for stage in body.layers:
            down, *blocks = stage.children()
            pairs = [b.children() for b in blocks]
            self._stages.append((leaky(down), [tuple(map(leaky, pair)) for pair in pairs]))

    def __call__(self, pictures: Tensor) -> list[Tensor]:
        x = self._stem(pictures)
        stages = []
        for down, blocks in self._stages:
            x = down(x)
            for first, second in blocks:
                x = second(first(x)).add_(x)
            stages.append(x)
        return stages


class _Leaky:
    """A convolution and its leaky ReLU."""

    def __init__(self, conv: Conv) -> None:
        self._conv = conv

    def __call__(self, x: Tensor) -> Tensor:
        return F.leaky_relu_(self._conv(x), bodies.SLOPE)
