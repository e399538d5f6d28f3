"""SOLOv2 as a `Segmenter`: what a worker is promised, by a small network with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.models import MODELS, choose, load_segmenter, local_weights, model_labels
from pipeline.models.shared.devices import place
from pipeline.models.shared.input_rule import OPENMMLAB_RULE
from pipeline.models.shared.labels import COCO_LABELS
from pipeline.models.shared.whole_picture import PictureSegmenter
from pipeline.models.solov2.dense import SoloDense
from pipeline.models.solov2.importer import ImportedSolo
from pipeline.models.solov2.network import SoloDesign, SoloV2
from pipeline.models.solov2.segmenter import finder_of
from pipeline.stages import ModelInfo
from pipeline.testing import check_segmenter

RULE = replace(OPENMMLAB_RULE, shorter=96, longest=160)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> SoloV2:
    torch.manual_seed(0)
    design = SoloDesign("resnet18", False, classes=3, depth=1, width=32, kernel=32)
    net = SoloV2(design).eval().requires_grad_(False)
    net.category.weight *= 4
    net.kernel.weight *= 20
    return net


@pytest.fixture
def make(network: SoloV2) -> Callable[..., PictureSegmenter]:
    """A segmenter of the small network; classes have the ids 2, 5 and 9."""

    def made(precision: str = "fp32", threshold: float = 0.1) -> PictureSegmenter:
        finder = finder_of(
            ImportedSolo(network, RULE), place("cpu", precision), np.array([2, 5, 9]), threshold
        )
        return PictureSegmenter(finder, ModelInfo("small", {2: "a", 5: "b", 9: "c"}, ""))

    return made


def test_it_keeps_what_a_segmenter_promises(
    make: Callable[..., PictureSegmenter], streets: list[np.ndarray]
) -> None:
    pictures = [streets[0], streets[3][:200, :180]]
    assert min(len(found) for found in make().segment(pictures)) > 3
    check_segmenter(make, pictures)


def test_a_higher_threshold_leaves_out_what_is_below_it_and_changes_nothing_else(
    make: Callable[..., PictureSegmenter], streets: list[np.ndarray]
) -> None:
    (all_,) = make(threshold=0.0).segment(streets[:1])
    middle = float(np.median(all_.scores))
    (some,) = make(threshold=middle).segment(streets[:1])
    assert some.scores == pytest.approx(all_.scores[all_.scores > middle], abs=1e-6)
    assert some.masks.same_as(all_.masks[all_.scores > middle])
    assert len(make(threshold=1.0).segment(streets[:1])[0]) == 0


def test_the_fast_network_is_the_plain_one(network: SoloV2) -> None:
    pictures = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        plain = network(pictures)
        fast = SoloDense(network, CPU, torch.float32)(
            pictures.contiguous(memory_format=torch.channels_last)
        )
        rough = SoloDense(network, CPU, torch.bfloat16)(
            pictures.bfloat16().contiguous(memory_format=torch.channels_last)
        )
    for name in ("categories", "kernels"):
        for ours, theirs in zip(getattr(fast, name), getattr(plain, name), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))
    assert torch.allclose(fast.features, plain.features, atol=1e-4)
    assert float((rough.features.float() - plain.features).abs().mean()) < 0.02


def test_a_published_file_is_known_by_its_tensors_and_segments(
    golden: Callable[[str], Any], tmp_path: Path
) -> None:
    """As WXinlong/SOLO saves it, from the path to instances of COCO's categories."""
    recorded = golden("solo_solov2_r50_fpn")
    path = tmp_path / "SOLOv2_R50_3x.pth"
    state = {key: torch.from_numpy(value) for key, value in recorded.state.items()}
    torch.save({"meta": {"epoch": 36, "CLASSES": ("person", "car")}, "state_dict": state}, path)
    name, weights = choose(None, str(path))
    assert name == "solov2_resnet50_fpn"
    file = local_weights(weights)
    assert file is not None
    assert model_labels(name, file) == COCO_LABELS
    with pytest.raises(ModelError, match=r"not of condinst_resnet50_fpn.*solov2_resnet50_fpn"):
        model_labels("condinst_resnet50_fpn", file)
    segmenter = load_segmenter(name, weights=file, device="cpu", precision="fp32")
    small = replace(OPENMMLAB_RULE, shorter=192)  # as it was recorded
    segmenter._runner = replace(segmenter._runner, input_rule=small)
    (found,) = segmenter.segment([recorded.picture("0")])
    rows = np.searchsorted(list(COCO_LABELS), found.class_ids)
    assert recorded.found_again("0", replace(found, class_ids=rows)) == (100, 100)


def test_cards_say_whose_weights_are_for_which_use() -> None:
    card = MODELS["solov2_resnet50_fpn"].card
    assert card.mask_ap == 37.5
    assert "AdelaiDet and WXinlong/SOLO: as their code, non-commercial" in card.weights_licence
    assert "OpenMMLab: Apache-2.0" in card.weights_licence
    assert "OpenMMLab" not in MODELS["solov2_resnet101_fpn"].card.weights_licence
