"""Every tensor of a file is used once; what is missing or left over is named."""

import re

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.models.shared.importing import Origin, import_weights


def network() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def called(own: str) -> Origin:
    """The file has the convolution's outputs in the other order, and other names."""
    if own.startswith("0."):
        return Origin("conv." + own[2:], lambda tensor: tensor.flip(0))
    return Origin("norm." + own[2:])


@pytest.fixture
def held() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 1, 1),
        "conv.bias": torch.randn(4).half(),
        **{f"norm.{name}": torch.rand(4) for name in ("weight", "bias")},
        **{f"norm.running_{name}": torch.rand(4) for name in ("mean", "var")},
        "norm.num_batches_tracked": torch.tensor(7),
    }


def load(held: dict[str, Tensor]) -> nn.Module:
    return import_weights(
        network(), held, called, what="a net", origin="own", extra=lambda name: name == "note"
    )


def test_the_network_has_what_the_file_says(held: dict[str, Tensor]) -> None:
    loaded = load(held | {"note": torch.tensor(3)})
    assert torch.equal(loaded[0].weight, held["conv.weight"].flip(0))
    assert torch.equal(loaded[0].bias, held["conv.bias"].float().flip(0))
    assert torch.equal(loaded[1].running_var, held["norm.running_var"])
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_missing_and_left_over_tensors_are_named_as_the_file_has_them(
    held: dict[str, Tensor],
) -> None:
    del held["conv.bias"]
    held |= {f"more.{i}": torch.zeros(1) for i in range(5)}
    text = (
        "weights own do not fit a net: of 11 tensors, 1 missing (conv.bias); "
        "5 left over (more.0, more.1, more.2, ...)"
    )
    with pytest.raises(ModelError, match=re.escape(text)):
        load(held)


def test_another_shape_is_named(held: dict[str, Tensor]) -> None:
    held["conv.weight"] = torch.zeros(4, 3, 3, 3)
    text = "conv.weight has the shape (4, 3, 3, 3), which is not that of 0.weight, (4, 3, 1, 1)"
    with pytest.raises(ModelError, match=re.escape(text)):
        load(held)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.full((4,), torch.nan), "norm.weight holds NaN or infinity"),
        (torch.zeros(4, dtype=torch.int64), "norm.weight is no floating point, got torch.int64"),
    ],
)
def test_numbers_that_are_none(held: dict[str, Tensor], value: Tensor, text: str) -> None:
    with pytest.raises(ModelError, match=text):
        load(held | {"norm.weight": value})
