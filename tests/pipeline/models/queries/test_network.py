"""Mask2Former's network with one thing done otherwise: the recorded outputs have to see it.

It is the library's; a version of it that computes otherwise would be found like this. The names are
those of `mistakes.json` beside the recorded outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.queries.preprocess import NetworkInput
from tests.pipeline.models.golden import Golden, folder_of
from tests.pipeline.models.queries.test_golden import network_of, passed, prepare_in

PIXELS = "model.pixel_level_module.decoder"
QUERIES = "model.transformer_module.decoder"
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> Golden:
    return folder_of(shared_data, "mask2former_r50_coco_instance")


@pytest.fixture(scope="module")
def network(golden: Golden) -> Any:
    return network_of(golden)


@pytest.fixture(scope="module")
def prepared(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> NetworkInput:
    picture = golden.picture("1")
    return prepare_in(tmp_path_factory.mktemp("golden"), picture)(picture)


def strides(network: Any, patch: Patch) -> None:
    for stage in network.model.pixel_level_module.encoder.encoder.stages[1:]:
        first, second = (stage.layers[0].layer[n].convolution for n in (0, 1))
        first.stride, second.stride = second.stride, first.stride


def eps(network: Any, patch: Patch) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0


def positions(change: Callable[[Tensor], Tensor], network: Any, patch: Patch) -> None:
    for module in network.modules():
        if type(module).__name__ == "Mask2FormerSinePositionEmbedding":
            module.register_forward_hook(lambda _, given, made: change(made))


def x_first(made: Tensor) -> Tensor:
    return made.roll(made.shape[1] // 2, 1)


def not_normalised(network: Any, patch: Patch) -> None:
    for module in network.modules():
        if type(module).__name__ == "Mask2FormerSinePositionEmbedding":
            module.normalize = False


def fine_to_coarse(network: Any, patch: Patch) -> None:
    decoder = network.get_submodule(PIXELS)
    decoder.level_embed = nn.Parameter(decoder.level_embed.flip(0), requires_grad=False)


def y_first(network: Any, patch: Patch) -> None:
    for layer in network.get_submodule(f"{PIXELS}.encoder.layers"):
        offsets = layer.self_attn.sampling_offsets
        for part in (offsets.weight, offsets.bias):
            part.data = part.data.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def per_level(network: Any, patch: Patch) -> None:
    right = nn.functional.softmax

    def wrong(x: Tensor, dim: int) -> Tensor:
        if x.shape[-1] != 12:  # three levels of four points
            return right(x, dim)
        return right(x.unflatten(-1, (3, 4)), -1).flatten(-2) / 3

    patch.setattr(nn.functional, "softmax", wrong)


def nearest(network: Any, patch: Patch) -> None:
    right = nn.functional.interpolate

    def wrong(x: Tensor, size: Any, mode: str, align_corners: bool) -> Tensor:
        if x.shape[1] != 256:  # attention masks
            return right(x, size=size, mode=mode, align_corners=align_corners)
        return right(x, size=size, mode="nearest")

    patch.setattr(nn.functional, "interpolate", wrong)


def exchanged(network: Any, patch: Patch) -> None:
    module = network.model.transformer_module
    one, other = module.queries_embedder, module.queries_features
    one.weight, other.weight = other.weight, one.weight


def self_first(network: Any, patch: Patch) -> None:
    def forward(layer: Any, x: Tensor, level: int, *given: Any, **more: Any) -> tuple[Tensor]:
        _, places, at, keys = given
        own, _ = layer.self_attn(
            hidden_states=x, position_embeddings=at, attention_mask=None, output_attentions=True
        )
        x = layer.self_attn_layer_norm(x + own)
        seen, _ = layer.cross_attn(
            query=x + at,
            key=keys[level] + places[level],
            value=keys[level],
            attn_mask=more["encoder_attention_mask"],
        )
        x = layer.cross_attn_layer_norm(x + seen)
        return (layer.final_layer_norm(x + layer.fc2(layer.activation_fn(layer.fc1(x)))),)

    for layer in network.get_submodule(QUERIES).layers:
        layer.forward = partial(forward, layer)


def unmasked(network: Any, patch: Patch) -> None:
    network.get_submodule(QUERIES).mask_predictor.register_forward_hook(
        lambda _, given, made: (made[0], torch.zeros_like(made[1]))
    )


def no_norm(network: Any, patch: Patch) -> None:
    network.get_submodule(QUERIES).layernorm = nn.Identity()


MISTAKES: dict[str, tuple[Callable[[Any, Patch], None], str]] = {
    "stride in the 1x1 convolution instead of the 3x3": (strides, "c5"),
    "batch norm eps 0": (eps, "c5"),
    "position encoding x first, then y": (partial(positions, x_first), "encoder_output"),
    "position encoding not normalised to 2 pi": (not_normalised, "encoder_output"),
    "encoder levels embedded fine to coarse": (fine_to_coarse, "encoder_output"),
    "sampling offsets read as y, x": (y_first, "encoder_output"),
    "attention weights normalised per level instead of over all 12 points": (
        per_level,
        "encoder_output",
    ),
    "nearest instead of bilinear before c2 is added": (nearest, "mask_features"),
    "query feature and query position exchanged": (exchanged, "query_0"),
    "self-attention before cross-attention": (self_first, "query_0"),
    "attention not masked": (unmasked, "query_0"),
    "no decoder norm before the heads": (no_norm, "pred_logits"),
}
"""What is done otherwise, and the first stage that has to differ."""


@pytest.mark.parametrize("change", MISTAKES)
def test_another_network_is_seen(
    golden: Golden, network: Any, prepared: NetworkInput, change: str, monkeypatch: Patch
) -> None:
    wrong = copy.deepcopy(network)
    mistake, stage = MISTAKES[change]
    mistake(wrong, monkeypatch)
    made = passed(wrong, prepared)
    assert golden.error("1", stage, made.stages[stage]) > 10


def test_unchanged_it_is_right(golden: Golden, network: Any, prepared: NetworkInput) -> None:
    made = passed(network, prepared)
    for stage in {stage for _, stage in MISTAKES.values()}:
        assert golden.error("1", stage, made.stages[stage]) <= 1
