"""The dense part against torchvision's modules, with norms whose statistics are not trivial."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.ops.misc import Conv2dNormActivation, FrozenBatchNorm2d

from pipeline.models.mask_rcnn.engine.dense import DensePart
from pipeline.models.mask_rcnn.networks import build_network
from pipeline.models.shared.layers import conv_maker, fold, fold_block, stacked

CPU = torch.device("cpu")


def picture(height: int, width: int, batch: int = 1) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, 3, height, width).contiguous(memory_format=torch.channels_last)


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.float() - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("eps", [0.0, 1e-5])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, FrozenBatchNorm2d])
def test_a_folded_norm_gives_the_same_numbers(norm: type[nn.Module], eps: float) -> None:
    torch.manual_seed(2)
    layer = norm(6, eps=eps).eval()
    for name, low, high in (
        ("weight", -1, 1),
        ("bias", -1, 1),
        ("running_mean", -1, 1),
        ("running_var", 1e-5, 2),
    ):
        getattr(layer, name).data.uniform_(low, high)
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
    x = torch.randn(2, 4, 9, 7).contiguous(memory_format=torch.channels_last)

    ours = conv_maker(CPU, torch.float32)(fold(conv, layer), relu=False)(x)

    assert relative_error(ours, layer(conv(x)).detach()) < 1e-5


def test_the_activation_comes_after_the_residual() -> None:
    torch.manual_seed(3)
    block = Conv2dNormActivation(4, 4, norm_layer=None).eval()
    x, add = torch.randn(2, 1, 4, 5, 5).contiguous()
    conv = conv_maker(CPU, torch.float32)(fold_block(block), relu=True)

    assert torch.allclose(conv(x), block(x), atol=1e-6)
    assert torch.allclose(conv(x, into=add.clone()), (block[0](x) + add).relu(), atol=1e-6)


def test_stacked_convolutions_give_their_outputs_one_after_another() -> None:
    torch.manual_seed(4)
    first, second = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 12, 1)
    x = torch.randn(1, 4, 6, 5)
    both = conv_maker(CPU, torch.float32)(stacked(fold(first), fold(second)), relu=False)(x)

    assert torch.allclose(both, torch.cat([first(x), second(x)], dim=1), atol=1e-6)


def test_a_norm_that_cannot_be_folded_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot fold GroupNorm; expected a batch norm"):
        fold(nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("maskrcnn_resnet18_fpn", "onednn"),
        ("maskrcnn_resnet18_fpn", "plain"),
        ("maskrcnn_resnet50_fpn", "onednn"),
        ("maskrcnn_resnet50_fpn_v2", "onednn"),
    ],
)
def test_pyramid_and_proposal_head_agree_with_torchvision(
    name: str, kind: str, randomise: Callable[..., MaskRCNN], monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "plain":
        monkeypatch.setattr("pipeline.models.shared.layers.onednn_usable", lambda dtype: False)
    network = randomise(build_network(name, num_classes=5))
    x = picture(96, 160, batch=2)
    with torch.inference_mode():
        features = list(network.backbone(x).values())
        logits, deltas = network.rpn.head(features)
        ours = DensePart(network, conv_maker(CPU, torch.float32))(x)

    for i, level in enumerate(features):
        assert relative_error(ours.levels[i], level) < 2e-5
        n, _, height, width = logits[i].shape
        theirs = logits[i].permute(0, 2, 3, 1).reshape(n, height * width, -1)
        assert relative_error(ours.heads[i][..., :3], theirs) < 1e-4
        theirs = deltas[i].permute(0, 2, 3, 1).reshape(n, height * width, -1)
        assert relative_error(ours.heads[i][..., 3:], theirs) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_picture_gets_the_same_bits_in_any_batch(
    dtype: torch.dtype, small_network: MaskRCNN
) -> None:
    x = picture(96, 160, batch=5).to(dtype)
    dense = DensePart(small_network, conv_maker(CPU, dtype))
    with torch.inference_mode():
        together = dense(x)
        alone = dense(x[3:4])

    for ours, theirs in zip(
        [*alone.levels, *alone.heads], [*together.levels, *together.heads], strict=True
    ):
        assert torch.equal(ours[0], theirs[3])
