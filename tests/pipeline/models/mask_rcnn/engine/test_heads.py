"""Box head and mask head against torchvision's modules, from identical regions."""

from collections.abc import Callable

import pytest
import torch
from torchvision.models.detection import MaskRCNN

from pipeline.models.mask_rcnn.engine.box_head import BoxHead
from pipeline.models.mask_rcnn.engine.mask_head import MaskHead
from pipeline.models.mask_rcnn.networks import build_network
from pipeline.models.shared.layers import conv_maker

CPU = torch.device("cpu")
MAKE = conv_maker(CPU, torch.float32)


@pytest.fixture(scope="module")
def second_version(randomise: Callable[..., MaskRCNN]) -> MaskRCNN:
    """Its box head has convolutions before the fully connected layer, its norms are everywhere."""
    return randomise(build_network("maskrcnn_resnet50_fpn_v2", num_classes=4))


@pytest.mark.parametrize("name", ["small_network", "second_version"])
def test_class_logits_and_deltas_agree(name: str, request: pytest.FixtureRequest) -> None:
    heads = request.getfixturevalue(name).roi_heads
    torch.manual_seed(0)
    pooled = torch.randn(9, request.getfixturevalue(name).backbone.out_channels, 7, 7)
    with torch.inference_mode():
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        ours = BoxHead(request.getfixturevalue(name), MAKE, CPU, torch.float32)(
            pooled.permute(0, 2, 3, 1).contiguous()
        )

    assert (ours[0] - logits).abs().max() < 1e-4 * logits.abs().max()
    assert (ours[1].flatten(1) - deltas).abs().max() < 1e-4 * deltas.abs().max()


@pytest.mark.parametrize("name", ["small_network", "second_version"])
def test_masks_of_the_own_class_agree(name: str, request: pytest.FixtureRequest) -> None:
    network = request.getfixturevalue(name)
    heads = network.roi_heads
    torch.manual_seed(1)
    pooled = torch.randn(6, network.backbone.out_channels, 14, 14)
    classes = torch.tensor([1, 2, 3, 1, 2, 3])
    with torch.inference_mode():
        logits = heads.mask_predictor(heads.mask_head(pooled))
        theirs = logits.sigmoid()[torch.arange(6), classes]
        ours = MaskHead(network, MAKE, CPU, torch.float32)(
            pooled.permute(0, 2, 3, 1).contiguous(), classes
        ).sigmoid()

    assert ours.shape == (6, 28, 28)
    assert (ours - theirs).abs().max() < 1e-4
    assert float(theirs.std()) > 0.05
