"""CondInst as a `Segmenter`: what a worker is promised, by a small body with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.models import MODELS
from pipeline.models.condinst.dense import CondInstDense
from pipeline.models.condinst.importer import ImportedCondInst
from pipeline.models.condinst.network import CondInst
from pipeline.models.condinst.postprocess import (
    ADELAIDET_SELECTION,
    OPENMMLAB_SELECTION,
    SelectionRule,
)
from pipeline.models.condinst.segmenter import finder_of
from pipeline.models.shared.devices import place
from pipeline.models.shared.input_rule import ADELAIDET_RULE
from pipeline.models.shared.whole_picture import PictureSegmenter
from pipeline.stages import ModelInfo
from pipeline.testing import check_segmenter

RULE = replace(ADELAIDET_RULE, shorter=96, longest=160)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> CondInst:
    torch.manual_seed(0)
    net = CondInst("resnet18", stride_in_1x1=False, classes=3).eval().requires_grad_(False)
    net.distances.bias += 2
    net.numbers.weight *= 4
    return net


@pytest.fixture
def make(network: CondInst) -> Callable[..., PictureSegmenter]:
    """A segmenter of the small network; classes have the ids 2, 5 and 9."""

    def made(
        threshold: float = 0.1, selection: SelectionRule = ADELAIDET_SELECTION
    ) -> PictureSegmenter:
        imported = ImportedCondInst(network, RULE, selection)
        finder = finder_of(imported, place("cpu", "fp32"), np.array([2, 5, 9]), threshold)
        return PictureSegmenter(finder, ModelInfo("small", {2: "a", 5: "b", 9: "c"}, ""))

    return made


def test_it_keeps_what_a_segmenter_promises(
    make: Callable[..., PictureSegmenter], streets: list[np.ndarray]
) -> None:
    pictures = [streets[0], streets[3][:200, :180]]
    assert min(len(found) for found in make().segment(pictures)) > 3
    check_segmenter(make, pictures)


@pytest.mark.parametrize("selection", [ADELAIDET_SELECTION, OPENMMLAB_SELECTION])
def test_a_higher_threshold_leaves_out_what_is_below_it_and_changes_nothing_else(
    selection: SelectionRule, make: Callable[..., PictureSegmenter], streets: list[np.ndarray]
) -> None:
    (all_,) = make(0.0, selection).segment(streets[:1])
    middle = float(np.median(all_.scores))
    (some,) = make(middle, selection).segment(streets[:1])
    assert 0 < len(some) < len(all_)
    assert some.scores.tolist() == all_.scores[all_.scores > middle].tolist()
    assert some.masks.same_as(all_.masks[all_.scores > middle])
    assert len(make(1.0, selection).segment(streets[:1])[0]) == 0


def test_the_fast_network_is_the_plain_one(network: CondInst) -> None:
    pictures = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        plain = network(pictures)
        fast = CondInstDense(network, CPU, torch.float32)(
            pictures.contiguous(memory_format=torch.channels_last)
        )
    for name in ("classes", "distances", "centreness", "numbers"):
        for ours, theirs in zip(getattr(fast, name), getattr(plain, name), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4)
    assert torch.allclose(fast.features, plain.features, atol=1e-4)


def test_cards_say_whose_weights_are_for_which_use() -> None:
    card = MODELS["condinst_resnet50_fpn"].card
    assert "AdelaiDet: as its code, non-commercial purposes only" in card.weights_licence
    assert "OpenMMLab: Apache-2.0" in card.weights_licence
    assert "OpenMMLab" not in MODELS["condinst_resnet101_fpn"].card.weights_licence
