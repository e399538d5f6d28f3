"""What sets the published YOLACTs apart; light, no torch.

Facts from the papers (Bolya et al., YOLACT, ICCV 2019; YOLACT++, 2019) and the published settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

CAFFE_MEAN, CAFFE_STD = (123.68, 116.78, 103.94), (58.40, 57.12, 57.38)
LARGEST_SIDE = 550.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """One architecture."""

    blocks: tuple[int, ...]
    """Residual blocks of each stage."""
    darknet: bool = False
    """Darknet-53 in place of a ResNet."""
    side: int = 550
    """Pictures are resized to a square of this side, whatever their aspect ratio."""
    deformable_every: int = 0
    """Every n-th block of the last three stages is deformable; 0: none is."""
    octaves: tuple[float, ...] = (1.0,)
    """Sizes of priors within a level."""
    square_priors: bool = True
    """Published so: the height of every prior is its width."""
    rescored: bool = False
    """Whether a small network predicts the IoU of each mask, a factor of its score."""
    mean: tuple[float, float, float] = CAFFE_MEAN
    """RGB, of values in 0..255, as `std`."""
    std: tuple[float, float, float] = CAFFE_STD

    @property
    def scales(self) -> tuple[int, ...]:
        """The side of the priors on p3 to p7, in pixels of the resized picture."""
        return tuple(int(size * self.side / LARGEST_SIDE) for size in (24, 48, 96, 192, 384))

    @property
    def ratios(self) -> tuple[float, ...]:
        """Width to height."""
        return (1.0, 0.5, 2.0)

    @property
    def priors_per_cell(self) -> int:
        """Of every level."""
        return len(self.octaves) * len(self.ratios)


_R50, _R101 = (3, 4, 6, 3), (3, 4, 23, 3)
_THREE = (1.0, 2.0 ** (1 / 3), 2.0 ** (2 / 3))

DESIGNS: Mapping[str, Design] = MappingProxyType(
    {
        "yolact_resnet50": Design(blocks=_R50),
        "yolact_resnet101": Design(blocks=_R101),
        "yolact_darknet53": Design(
            blocks=(1, 2, 8, 8, 4), darknet=True, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)
        ),
        "yolact_resnet101_700": Design(blocks=_R101, side=700),
        "yolact_plus_resnet50": Design(
            blocks=_R50, deformable_every=1, octaves=_THREE, square_priors=False, rescored=True
        ),
        "yolact_plus_resnet101": Design(
            blocks=_R101, deformable_every=3, octaves=_THREE, square_priors=False, rescored=True
        ),
    }
)
"""By model name."""
