"""The bodies: ResNet with perhaps deformable convolutions, and Darknet-53.

Parameters are called as torchvision's are, those of Darknet as in the published file.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from pipeline.models.shared.deformable import DeformableConv

SLOPE = 0.1
"""Of Darknet's leaky ReLUs."""


class YolactResNet(ResNet):  # type: ignore[misc] # torchvision has no types
    """A ResNet of bottlenecks, their stride in the 3 × 3 convolution, without its classifier.

    Args:
        blocks: of each of the four stages.
        deformable_every: every n-th block of the last three stages is deformable; 0: none is.
    """

    def __init__(self, blocks: tuple[int, ...], deformable_every: int = 0) -> None:
        super().__init__(Bottleneck, list(blocks))
        del self.avgpool, self.fc
        for stage in (self.layer2, self.layer3, self.layer4) if deformable_every else ():
            for block in list(stage)[::deformable_every]:
                conv = block.conv2
                block.conv2 = DeformableConv(conv.in_channels, conv.out_channels, conv.stride[0])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the outputs of the last three stages: strides 8, 16 and 32."""
        x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        stages = []
        for stage in (self.layer2, self.layer3, self.layer4):
            x = stage(x)
            stages.append(x)
        return stages


class DarknetBody(nn.Module):
    """Darknet-53 (Redmon and Farhadi, YOLOv3, 2018) without its classifier.

    Args:
        blocks: of each of the five stages.
    """

    def __init__(self, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.preconv = _conv(3, 32, 3)
        self.layers = nn.ModuleList()
        for count, width in zip(blocks, (32, 64, 128, 256, 512), strict=True):
            rest = [DarknetBlock(2 * width) for _ in range(count)]
            self.layers.append(nn.Sequential(_conv(width, 2 * width, 3, 2), *rest))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the outputs of the last three stages: strides 8, 16 and 32."""
        x = self.preconv(x)
        stages = []
        for stage in self.layers:
            x = stage(x)
            stages.append(x)
        return stages[-3:]


class DarknetBlock(nn.Module):
    """Two convolutions, added to what they are given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _conv(width, width // 2, 1)
        self.conv2 = _conv(width // 2, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        return x + self.conv2(self.conv1(x))


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(SLOPE),
    )
