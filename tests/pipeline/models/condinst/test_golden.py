"""CondInst from published files to masks, against recorded outputs of the project it comes from.

And each mistake one can make on the way, made on purpose: the comparison has to see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import feature_pyramid_network

from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.models.condinst import network, postprocess
from pipeline.models.condinst.dense import CondInstDense
from pipeline.models.condinst.importer import ImportedCondInst, import_condinst
from pipeline.models.condinst.network import CondInstOutputs
from pipeline.models.condinst.postprocess import (
    ADELAIDET_SELECTION,
    OPENMMLAB_SELECTION,
    Places,
    find_instances,
    grid_points,
    network_input,
    select,
    split_numbers,
)
from pipeline.models.shared.backbone import ResNetBody
from pipeline.models.shared.enlarging import half_pixel
from pipeline.models.shared.layers import conv_maker
from pipeline.models.shared.resnet import put_strides_first
from tests.pipeline.models.golden import as_it_is

CPU, CASES = torch.device("cpu"), ("0", "1")
ROWS = np.arange(80)
HEADS = {
    "cls_logits": "classes",
    "box": "distances",
    "ctrness": "centreness",
    "controller": "numbers",
}
NEAR = {"cls_logits": 6e-4, "box": 3e-4, "ctrness": 7e-5, "controller": 8e-5}
"""Tolerances of the recorded arrays; the smallest of all levels."""


@dataclass(frozen=True)
class Run:
    """The published file, imported, and what it says about the recorded pictures."""

    golden: Any
    imported: ImportedCondInst
    pixels: dict[str, Tensor]
    outputs: dict[str, CondInstOutputs]

    def instances(self, case: str, selection: Any = ADELAIDET_SELECTION) -> Instances:
        """What is found in a picture."""
        height, width, *size = self.golden.arrays[f"{case}.image_size"].tolist()
        inner = (height, width)
        return find_instances(self.outputs[case], 0, inner, tuple(size), ROWS, selection)

    def found(self, case: str) -> tuple[int, int]:
        """Detections found again, and how many were recorded; of those with a mask."""
        return self.golden.found_again(case, self.instances(case))

    def boxes_found(self, case: str) -> int:
        """Recorded boxes found again within 0.02 pixels, with their class and score."""
        inner = tuple(self.golden.arrays[f"{case}.image_size"][:2].tolist())
        ours = select(self.outputs[case], 0, inner, ADELAIDET_SELECTION)
        theirs = {
            name: self.golden.arrays[f"{case}.net_{name}"]
            for name in ("boxes", "scores", "classes")
        }
        near = np.abs(theirs["boxes"][:, None] - ours.boxes.numpy()[None]).max(axis=2) < 0.02
        near &= np.abs(theirs["scores"][:, None] - ours.scores.numpy()[None]) < 1e-3
        near &= theirs["classes"][:, None] == ours.classes.numpy()[None]
        return int(near.any(axis=1).sum())


@pytest.fixture(scope="module")
def run(golden: Callable[[str], Any]) -> Run:
    recorded = golden("adet_condinst_r50_fpn")
    with torch.inference_mode():
        imported = import_condinst("condinst_resnet50_fpn", recorded.file())
        pixels = {case: as_it_is(recorded, imported.input_rule, case) for case in CASES}
        compute = CondInstDense(imported.network, CPU, torch.float32)
        return Run(recorded, imported, pixels, {case: compute(pixels[case]) for case in CASES})


@pytest.fixture(scope="module")
def levels(run: Run) -> list[Tensor]:
    """The pyramid of case 1."""
    with torch.inference_mode():
        return list(run.imported.network.backbone(run.pixels["1"]).values())


@pytest.fixture(autouse=True)
def nothing_learns() -> Iterator[None]:
    with torch.inference_mode():
        yield


def off_of_heads(golden: Any, case: str, outputs: CondInstOutputs) -> dict[str, float]:
    """How far each head is off, the furthest level counts, in tolerances."""
    return {
        name: max(
            golden.off(case, f"{name}_{level}", ours) / NEAR[name]
            for level, ours in enumerate(getattr(outputs, field))
        )
        for name, field in HEADS.items()
    }


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_detections_are_those_recorded(case: str, run: Run) -> None:
    assert run.golden.off(case, "input", run.pixels[case]) < 2e-4
    assert max(off_of_heads(run.golden, case, run.outputs[case]).values()) < 1
    assert run.golden.off(case, "mask_features", run.outputs[case].features) < 3e-4
    assert run.boxes_found(case) == 100
    assert run.found(case) == {"0": (87, 87), "1": (95, 95)}[case]
    recorded = run.golden.arrays
    there = (
        Masks.from_coco(run.golden.read("masks.json")[case], run.instances(case).masks.size).areas()
        > 0
    )
    ours = run.instances(case).boxes
    assert np.abs(ours - recorded[f"{case}.boxes"][there]).max() < 0.01


def test_stages_of_the_network_are_those_recorded(run: Run, levels: list[Tensor]) -> None:
    net, off = run.imported.network, run.golden.off
    body = net.backbone.body
    x = body.maxpool(body.relu(body.bn1(body.conv1(run.pixels["1"]))))
    assert off("1", "stem", x) < 9e-5
    for stage in range(1, 5):
        x = body[f"layer{stage}"](x)
        assert off("1", f"c{stage + 1}", x) < 8e-5
    for number, level in enumerate(levels, start=3):
        assert off("1", f"p{number}", level) < 2e-5
    for number in (0, 2, 4):
        assert off("1", f"cls_tower_{number}", net.class_tower(levels[number])) < 1e-4
        assert off("1", f"bbox_tower_{number}", net.box_tower(levels[number])) < 1e-4
    outputs = net(run.pixels["1"])
    assert max(off_of_heads(run.golden, "1", outputs).values()) < 1
    assert off("1", "mask_features", outputs.features) < 3e-4


def test_what_an_instances_network_sees_and_says_is_what_is_recorded(run: Run) -> None:
    for case in CASES:
        recorded = {
            name: torch.from_numpy(run.golden.arrays[f"{case}.{name}"])
            for name in ("net_levels", "net_locations", "dynamic_params")
        }
        some = slice(0, 8)
        found = Places(
            *(torch.zeros(8, 4), torch.zeros(8), torch.zeros(8)),
            levels=recorded["net_levels"][some].long(),
            points=recorded["net_locations"][some].float(),
            numbers=recorded["dynamic_params"][some],
        )
        features = run.outputs[case].features[0]
        seen = network_input(found, features)[:6, :2, ::2, ::2].numpy()
        assert np.abs(seen - run.golden.arrays[f"{case}.mask_head_input"]).max() < 1e-5
        logits = postprocess.mask_logits(found, features).numpy()
        assert np.abs(logits - run.golden.arrays[f"{case}.mask_logits"]).max() < 5e-3


def test_candidates_are_chosen_by_class_times_centreness(run: Run) -> None:
    for case, numbers in (("0", [245, 66, 5, 0, 0]), ("1", [156, 49, 2, 3, 0])):

        def count(selection: Any, case: str = case) -> list[int]:
            return [
                len(postprocess._level(run.outputs[case], 0, level, selection, 0).scores)
                for level in range(5)
            ]

        assert count(ADELAIDET_SELECTION) == numbers
        assert count(replace(ADELAIDET_SELECTION, with_centreness=False)) != numbers


def test_openmmlabs_choice_finds_the_same_with_other_scores(run: Run) -> None:
    """With the root of its scores, all but what its clipping before suppression changes."""
    for case, least in (("0", 86), ("1", 92)):
        found = run.instances(case, OPENMMLAB_SELECTION)
        rooted = replace(found, scores=np.sqrt(found.scores))
        again, recorded = run.golden.found_again(case, rooted)
        assert least <= again <= recorded
        assert run.golden.found_again(case, found)[0] == 0


# ---------------------------------------------------------------- mistakes


def test_strides_in_the_other_convolution_are_seen(run: Run) -> None:
    body = run.imported.network.backbone.body
    put_strides_first(body)
    try:
        c5 = ResNetBody(body, conv_maker(CPU, torch.float32))(run.pixels["1"])[-1]
    finally:
        put_strides_first(body)
    assert run.golden.off("1", "c5", c5) > 0.5


def test_red_first_is_seen(run: Run) -> None:
    rule = replace(run.imported.input_rule, rgb=True)
    assert run.golden.off("1", "input", as_it_is(run.golden, rule, "1")) > 1


def test_a_relu_that_is_missing_before_p7_is_seen(
    run: Run, levels: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_pyramid_network, "F", SimpleNamespace(relu=lambda x: x))
    extra = run.imported.network.backbone.fpn.extra_blocks
    (*_, p7), _ = extra([levels[2]], [levels[2]], ["5"])
    assert run.golden.off("1", "p7", p7) > 0.1


def test_other_groups_are_seen(
    run: Run, levels: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = run.imported.network
    for block in (*net.class_tower, *net.box_tower):
        monkeypatch.setattr(block[1], "num_groups", 16)
    assert run.golden.off("1", "cls_tower_4", net.class_tower(levels[4])) > 0.1
    assert run.golden.off("1", "bbox_tower_4", net.box_tower(levels[4])) > 0.1


def test_scales_that_are_left_out_are_seen(run: Run, levels: list[Tensor]) -> None:
    net = run.imported.network
    distances = F.relu(net.distances(net.box_tower(levels[3])))
    assert run.golden.off("1", "box_3", distances) > 0.01


def test_exp_instead_of_relu_is_seen(run: Run, levels: list[Tensor]) -> None:
    net = run.imported.network
    distances = torch.exp(net.scales[3] * net.distances(net.box_tower(levels[3])))
    assert run.golden.off("1", "box_3", distances) > 1


def test_heads_on_the_other_tower_are_seen(run: Run, levels: list[Tensor]) -> None:
    net = run.imported.network
    seen = net.class_tower(levels[3])
    assert run.golden.off("1", "ctrness_3", net.centreness(seen)) > 0.1
    assert run.golden.off("1", "controller_3", net.numbers(seen)) > 0.1


def plain(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear")


def test_a_plain_enlargement_of_the_mask_branch_is_seen(
    run: Run, levels: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "aligned", plain)
    net = run.imported.network
    refined = [refine(level) for refine, level in zip(net.refine, levels, strict=False)]
    features = net.features(net.mask_tower(network.added_up(refined)))
    assert run.golden.off("1", "mask_features", features) > 0.3


def test_distances_not_multiplied_with_the_stride_are_seen(run: Run) -> None:
    outputs = run.outputs["1"]
    shorter = [d / s for d, s in zip(outputs.distances, postprocess.STRIDES, strict=True)]
    wrong = replace(run, outputs={"1": replace(outputs, distances=shorter)})
    assert wrong.boxes_found("1") == 0


def corner(level: Tensor, stride: int) -> Tensor:
    return grid_points(level, stride) - stride // 2


SELECTING = {
    "points at the corner of the cell": ("grid_points", corner),
    "suppression over all classes": (
        "batched_nms",
        lambda boxes, scores, classes, overlap: NMS(boxes, scores, 0 * classes, overlap),
    ),
    "suppression at another overlap": ("OVERLAP", 0.5),
}
NMS = postprocess.batched_nms


@pytest.mark.parametrize(("name", "wrong"), SELECTING.values(), ids=SELECTING)
def test_another_selection_is_seen(
    name: str, wrong: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postprocess, name, wrong)
    assert run.boxes_found("1") < 98


@pytest.mark.parametrize(
    "score",
    [
        pytest.param(lambda classes, central: classes * central, id="no root"),
        pytest.param(lambda classes, central: classes, id="no centre-ness"),
    ],
)
def test_another_score_is_seen(score: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postprocess, "score_of", lambda c, t, rooted: score(c, t))
    assert run.boxes_found("1") < 5


def other_sign(found: Places, features: Tensor) -> Tensor:
    x = network_input(found, features)
    x[:, :2] *= -1
    return x


def in_strides(found: Places, features: Tensor) -> Tensor:
    x = network_input(found, features)
    x[:, :2] *= 8  # sizes of interest are eight strides
    return x


def without_place(found: Places, features: Tensor) -> Tensor:
    x = network_input(found, features)
    x[:, :2] = 0
    return x


def interleaved(numbers: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    weights, biases = [], []
    at = 0
    for inputs, outputs in postprocess.LAYERS:
        weights.append(numbers[:, at : at + inputs * outputs].reshape(-1, outputs, inputs))
        at += inputs * outputs
        biases.append(numbers[:, at : at + outputs, None])
        at += outputs
    return weights, biases


def turned(numbers: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    weights, biases = split_numbers(numbers)
    weights[0] = weights[0].reshape(-1, 10, 8).transpose(1, 2)
    return weights, biases


def cut_to_boxes(found: Any, features: Tensor) -> Tensor:
    maps = MAPS(found, features)
    height, width = maps.shape[1:]
    x, y = torch.arange(width) * 4 + 2, torch.arange(height) * 4 + 2
    x0, y0, x1, y1 = found.boxes[:, :, None].unbind(dim=1)
    across, down = (x >= x0) & (x < x1), (y >= y0) & (y < y1)
    return maps * across[:, None, :] * down[:, :, None]


MAPS = postprocess.mask_maps
MASKING = {
    "coordinates with the other sign": ("network_input", other_sign),
    "coordinates y, x": (
        "network_input",
        lambda found, f: network_input(found, f)[:, [1, 0, *range(2, 10)]],
    ),
    "coordinates behind the features": (
        "network_input",
        lambda found, f: network_input(found, f)[:, [*range(2, 10), 0, 1]],
    ),
    "coordinates in strides": ("network_input", in_strides),
    "no coordinates": ("network_input", without_place),
    "weight, bias, weight, bias": ("split_numbers", interleaved),
    "first weight turned": ("split_numbers", turned),
    "plain enlargement": ("aligned", plain),
    "logits enlarged to the end": (
        "mask_maps",
        lambda found, f: 0.5 + postprocess.mask_logits(found, f),  # above 0.5 where above 0
    ),
    "not cut before the last resize": (
        "lines",
        lambda given, within, wanted: (
            half_pixel(4 * given, wanted) @ postprocess.aligned_to_first(given, 4)
        ),
    ),
    "cut to the box": ("mask_maps", cut_to_boxes),
}


@pytest.mark.parametrize(("name", "wrong"), MASKING.values(), ids=MASKING)
def test_another_way_to_a_mask_is_seen(
    name: str, wrong: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postprocess, name, wrong)
    again, recorded = run.found("1")
    assert again < 0.97 * recorded
