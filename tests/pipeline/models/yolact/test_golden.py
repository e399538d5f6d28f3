"""The published layouts from a .pth file to masks, stage by stage, against recorded outputs.

The weights are random but reproducible; tolerances are those recorded with the outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.models import choose, load_segmenter, model_labels
from pipeline.models.shared.labels import COCO_LABELS
from pipeline.models.yolact import postprocess
from pipeline.models.yolact.postprocess import windows_of
from pipeline.models.yolact.priors import make_priors
from tests.pipeline.models.yolact.conftest import Recorded, detections

NAMES = ("yolact_resnet50", "yolact_plus_resnet50")
IDS = np.array(list(COCO_LABELS))


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest, recorded: Callable[[str], Recorded]) -> Recorded:
    return recorded(request.param)


@pytest.fixture
def plus(recorded: Callable[[str], Recorded]) -> Recorded:
    return recorded("yolact_plus_resnet50")


@pytest.mark.parametrize("case", ["0", "1"])
def test_every_stage_is_the_recorded_one(model: Recorded, case: str) -> None:
    stages = model.stages(case)
    outputs = stages.outputs
    each = model.network.design.priors_per_cell // 3
    off = {
        "input": model.off(case, "input", stages.pixels),
        "stem": model.off(case, "stem", stages.stem),
        **{f"c{i + 2}": model.off(case, f"c{i + 2}", stages.body[i]) for i in range(4)},
        **{f"p{i + 3}": model.off(case, f"p{i + 3}", stages.levels[i]) for i in range(5)},
        "prototypes": model.off(case, "prototypes", outputs.prototypes),
        "loc": model.off(case, "loc", outputs.boxes[0, :: 8 * each]),
        "conf_logits": model.off(case, "conf_logits", outputs.logits[0, :: 64 * each]),
        "coefficients": model.off(case, "coefficients", outputs.coefficients[0, :: 32 * each]),
        "priors": model.off(case, "priors", make_priors(model.network.design)[:: 8 * each]),
    }
    assert {name: far for name, far in off.items() if far > 1} == {}


@pytest.mark.parametrize("case", ["0", "1"])
def test_the_same_detections_are_chosen_in_the_same_order(model: Recorded, case: str) -> None:
    found = detections(model.network, model.outputs(case))

    assert found.classes.tolist() == model.arrays[f"{case}.net_classes"].tolist()
    assert model.off(case, "net_boxes", found.boxes) < 1
    assert model.off(case, "net_scores", found.scores) < 1
    assert model.off(case, "net_coefficients", found.coefficients) < 1
    maps = next(postprocess.maps_of(found.coefficients, model.outputs(case).prototypes[0]))[1]
    assert np.abs(maps[:8, ::2, ::2] - model.arrays[f"{case}.mask_probabilities"]).max() < 4e-4


def test_nine_priors_of_a_cell_stand_in_the_recorded_order(plus: Recorded) -> None:
    first = make_priors(plus.network.design)[:9]
    assert np.abs(first.numpy() - plus.arrays["0.priors_first"]).max() < 1e-7


@torch.inference_mode()
def test_deformable_convolutions_read_where_the_recorded_ones_do(plus: Recorded) -> None:
    met: dict[str, Tensor] = {}
    body = plus.network.backbone
    handles = []
    for place, block in (
        ("1_0", body.layer2[0]),
        ("2_3", body.layer3[3]),
        ("3_2", body.layer4[2]),
    ):
        conv = block.conv2

        def keep(conv, given, made, place=place):
            met[f"dcn_{place}_input"], met[f"dcn_{place}_output"] = given[0], made
            met[f"dcn_{place}_offset_mask"] = conv.conv_offset_mask(given[0])

        handles.append(conv.register_forward_hook(keep))
    body(plus.pixels("0"))
    for handle in handles:
        handle.remove()
    assert len(met) == 9
    assert {name for name, ours in met.items() if plus.off("0", name, ours) > 1} == set()


@pytest.mark.parametrize("case", ["0", "1"])
@torch.inference_mode()
def test_masks_are_scored_as_recorded(plus: Recorded, case: str) -> None:
    found = detections(plus.network, plus.outputs(case))
    prototypes = plus.outputs(case).prototypes[0]
    given: list[Tensor] = []

    def watched(masks: Tensor) -> Tensor:
        given.append(masks)
        return plus.network.maskiou_net(masks)

    windows = windows_of(found.boxes.numpy(), (138, 138))
    told = postprocess.mask_ious(found, prototypes, windows, watched)

    net = plus.network.maskiou_net
    assert plus.off(case, "net_maskiou", torch.from_numpy(told)) < 1
    inputs = torch.cat(given)
    first = inputs[:8, 0, ::2, ::2].numpy()
    assert np.abs(first - plus.arrays[f"{case}.maskiou_input"]).max() < 2e-4
    assert (
        np.abs(net.maskiou_net(inputs[:1]).numpy() - plus.arrays[f"{case}.maskiou_map"]).max()
        < 9e-5
    )
    assert np.abs(net(inputs)[:25].numpy() - plus.arrays[f"{case}.maskiou"]).max() < 1e-4


def test_a_published_file_gives_the_recorded_masks(model: Recorded) -> None:
    assert choose(None, model.file) == (model.name, model.file)
    assert model_labels(model.name, model.file) == COCO_LABELS
    segmenter = load_segmenter(
        model.name, weights=model.file, device="cpu", precision="fp32", score_threshold=0.0
    )
    for case in ("0", "1"):
        (found,) = segmenter.segment([model.picture(case)])
        alike, there = compared(model, case, found)
        assert alike.any(axis=0)[there].all()
        assert len(found) == there.sum()
        assert np.all(np.diff(found.scores) <= 0)


def compared(
    model: Recorded, case: str, found: Instances
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which instances are which recorded ones; and which of these have pixels and a score."""
    rows = model.read("masks.json")[case]
    masks = Masks.from_coco(rows, (rows[0]["size"][0], rows[0]["size"][1]))
    scores = model.arrays[f"{case}.scores"]
    boxes = np.floor(found.boxes)[:, None] - model.arrays[f"{case}.boxes"]
    common = found.masks.intersections(masks)
    alike = np.abs(boxes).max(axis=2) <= 1
    alike &= found.class_ids[:, None] == IDS[model.arrays[f"{case}.classes"]]
    alike &= np.abs(found.scores[:, None] - scores.clip(0, 1)) < 1e-3
    alike &= found.masks.areas()[:, None] + masks.areas() - 2 * common <= 6
    return alike, (masks.areas() > 0) & (scores > 0)
