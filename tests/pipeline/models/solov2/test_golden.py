"""SOLOv2 from published files to masks, against recorded outputs of the projects it comes from.

And each mistake one can make on the way, made on purpose: the comparison has to see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.models.shared.enlarging import half_pixel
from pipeline.models.shared.resnet import put_strides_first
from pipeline.models.solov2 import dense, network, postprocess
from pipeline.models.solov2.dense import SoloDense
from pipeline.models.solov2.importer import ImportedSolo, import_solov2
from pipeline.models.solov2.network import GRIDS, SoloOutputs, for_towers, to_grid, with_coordinates
from pipeline.models.solov2.postprocess import Candidates, find_instances
from tests.pipeline.models.golden import as_it_is

CPU, CASES = torch.device("cpu"), ("0", "1")
ROWS = np.arange(80)
NEAR = {"cate_logits": 7e-4, "kernel": 1e-4, "mask_features": 2e-4}
"""Tolerances of the recorded arrays."""


@dataclass(frozen=True)
class Run:
    """One published file, imported, and what it says about the recorded pictures."""

    golden: Any
    imported: ImportedSolo
    pixels: dict[str, Tensor]
    outputs: dict[str, SoloOutputs]

    def found(self, case: str) -> tuple[int, int]:
        """Detections found again, and how many were recorded."""
        height, width, *size = self.golden.arrays[f"{case}.image_size"].tolist()
        args = self.outputs[case], 0, (height, width), tuple(size), ROWS
        return self.golden.found_again(case, find_instances(*args))


def run(golden: Any) -> Run:
    with torch.inference_mode():
        imported = import_solov2("solov2_resnet50_fpn", golden.file())
        pixels = {case: as_it_is(golden, imported.input_rule, case) for case in CASES}
        compute = SoloDense(imported.network, CPU, torch.float32)
        return Run(golden, imported, pixels, {case: compute(pixels[case]) for case in CASES})


@pytest.fixture(scope="module")
def adelaidet(golden: Callable[[str], Any]) -> Run:
    return run(golden("adet_solov2_r50_fpn"))


@pytest.fixture(scope="module")
def solo(golden: Callable[[str], Any]) -> Run:
    return run(golden("solo_solov2_r50_fpn"))


@pytest.fixture(scope="module")
def levels(adelaidet: Run) -> list[Tensor]:
    """The pyramid of case 1."""
    with torch.inference_mode():
        return list(adelaidet.imported.network.backbone(adelaidet.pixels["1"]).values())


@pytest.fixture(autouse=True)
def nothing_learns() -> Iterator[None]:
    with torch.inference_mode():
        yield


def outputs_off(golden: Any, case: str, outputs: SoloOutputs) -> dict[str, float]:
    named = {"mask_features": outputs.features}
    for level in range(5):
        named |= {
            f"cate_logits_{level}": outputs.categories[level],
            f"kernel_{level}": outputs.kernels[level],
        }
    return {name: golden.off(case, name, ours) for name, ours in named.items()}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("file", ["adelaidet", "solo"])
def test_outputs_and_detections_are_those_recorded(
    file: str, case: str, request: pytest.FixtureRequest
) -> None:
    made: Run = request.getfixturevalue(file)
    assert made.golden.off(case, "input", made.pixels[case]) < 4e-6
    for name, off in outputs_off(made.golden, case, made.outputs[case]).items():
        assert off < NEAR[name.rstrip("_01234")], name
    assert made.found(case) == (100, 100)


def test_stages_of_the_network_are_those_recorded(adelaidet: Run, levels: list[Tensor]) -> None:
    net, off = adelaidet.imported.network, adelaidet.golden.off
    body = net.backbone.body
    x = body.maxpool(body.relu(body.bn1(body.conv1(adelaidet.pixels["1"]))))
    assert off("1", "stem", x) < 8e-5
    for stage in range(1, 5):
        x = body[f"layer{stage}"](x)
        assert off("1", f"c{stage + 1}", x) < 1e-4
    for number, level in enumerate(levels, start=2):
        assert off("1", f"p{number}", level) < 2e-5
    for number, (level, grid) in enumerate(zip(for_towers(levels), GRIDS, strict=True)):
        cells = to_grid(with_coordinates(level), grid)
        recorded = adelaidet.golden.arrays[f"1.grid_input_{number}"]
        step = adelaidet.golden.config["subsampling"].get(f"grid_input_{number}", (1, 1, 1))[1]
        ours = cells[0, [0, 64, 128, 192, 256, 257], ::step, ::step].numpy()
        assert np.abs(ours - recorded).max() < 8e-6
        if number >= 3:  # the others have a hundred times the work and the same weights
            assert off("1", f"kernel_tower_{number}", net.kernel_tower(cells)) < 1e-4
            assert off("1", f"cate_tower_{number}", net.category_tower(cells[:, :256])) < 2e-4
            categories, kernels = net.cells(level, grid)
            assert off("1", f"cate_logits_{number}", categories) < NEAR["cate_logits"]
            assert off("1", f"kernel_{number}", kernels) < NEAR["kernel"]
    parts = net.mask_parts(levels)
    for number, part in enumerate(parts):
        assert off("1", f"mask_level_{number}", part) < 1e-4
    features = net.mask_features(sum(parts))
    assert off("1", "mask_features", features) < NEAR["mask_features"]


def test_candidates_and_what_suppression_leaves_of_them(adelaidet: Run) -> None:
    for case in CASES:
        outputs, recorded = adelaidet.outputs[case], adelaidet.golden.arrays
        scores = [postprocess.points_nms(level.sigmoid())[0] for level in outputs.categories]
        found = postprocess.candidates_of(torch.cat([s.flatten(1).T for s in scores]))
        assert found.cells.tolist() == recorded[f"{case}.candidate_cells"].tolist()
        assert found.classes.tolist() == recorded[f"{case}.candidate_classes"].tolist()
        assert np.abs(found.scores.numpy() - recorded[f"{case}.candidate_scores"]).max() < 2e-4
        kernels = torch.cat([level[0].flatten(1) for level in outputs.kernels], dim=1).T
        pixels = outputs.features[0].flatten(1)
        found, areas = postprocess.with_maskness(found, kernels, pixels)
        keys = [recorded[f"{case}.nms_{name}"] for name in ("cells", "classes", "areas")]
        theirs = {(cell, label): area for cell, label, area in zip(*keys, strict=True)}
        ours = zip(found.cells.tolist(), found.classes.tolist(), areas.tolist(), strict=True)
        near = [abs(theirs.get((cell, label), -9) - area) <= 2 for cell, label, area in ours]
        assert sum(near) >= 498  # equal scores at the end of the list may change places
        assert np.abs(found.scores.numpy() - recorded[f"{case}.nms_scores"]).max() < 1e-3
        left = postprocess.suppress(found, kernels, pixels).scores.numpy()
        off = np.abs(np.sort(left) - np.sort(recorded[f"{case}.nms_decayed"]))
        assert (off < 3e-3).sum() >= 496
        assert (left >= postprocess.DECAYED).sum() == 469


def test_a_mask_no_larger_than_its_levels_stride_is_left_out(adelaidet: Run) -> None:
    kernels = torch.full((3872, 1), -1.0)
    pixels = torch.ones(1, 100)
    kernels[0], kernels[3800] = 1.0, 1.0  # everywhere on, at strides 8 and 32
    found = Candidates(torch.tensor([0, 3800]), torch.tensor([1, 1]), torch.tensor([0.5, 0.5]))
    for area, kept in ((8, []), (9, [0]), (32, [0]), (33, [0, 3800])):
        chosen, areas = postprocess.with_maskness(found, kernels, pixels[:, :area])
        assert chosen.cells.tolist() == kept
        assert areas.tolist() == [area] * len(kept)


# ---------------------------------------------------------------- mistakes


def test_strides_in_the_other_convolution_are_seen(adelaidet: Run) -> None:
    body = adelaidet.imported.network.backbone.body
    put_strides_first(body)
    try:
        stages = dense.ResNetBody(body, dense.conv_maker(CPU, torch.float32))
        c5 = stages(adelaidet.pixels["1"])[-1]
    finally:
        put_strides_first(body)
    assert adelaidet.golden.off("1", "c5", c5) > 0.5


def test_another_eps_of_norms_is_seen(solo: Run) -> None:
    body = solo.imported.network.backbone.body
    for stage in (body.bn1, *(block.bn3 for block in body.layer1)):
        stage.eps = 0.0
    try:
        c2 = dense.ResNetBody(body, dense.conv_maker(CPU, torch.float32))(solo.pixels["1"])[0]
    finally:
        for stage in (body.bn1, *(block.bn3 for block in body.layer1)):
            stage.eps = 1e-5
    assert solo.golden.off("1", "c2", c2) > 0.005


@pytest.mark.parametrize(
    ("file", "wrong"),
    [
        pytest.param("adelaidet", {"rgb": True}, id="red first"),
        pytest.param("adelaidet", {"std": (57.375, 57.12, 58.395)}, id="divided"),
        pytest.param("solo", {"rgb": False}, id="blue first"),
        pytest.param("solo", {"std": (1.0, 1.0, 1.0)}, id="not divided"),
    ],
)
def test_another_normalisation_is_seen(
    file: str, wrong: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    made: Run = request.getfixturevalue(file)
    rule = replace(made.imported.input_rule, **wrong)
    assert made.golden.off("1", "input", as_it_is(made.golden, rule, "1")) > 0.1


def swapped(level: Tensor) -> Tensor:
    x = with_coordinates(level)
    return torch.cat([x[:, :-2], x[:, -1:], x[:, -2:-1]], dim=1)


def at_cell_centres(level: Tensor) -> Tensor:
    x = with_coordinates(level)
    height, width = level.shape[-2:]
    x[:, -2] *= (width - 1) / width
    x[:, -1] *= (height - 1) / height
    return x


def with_corners(x: Tensor, **how: Any) -> Tensor:
    return F.interpolate(x, **how, align_corners=True)


class Corners:
    """Functions of torch with all bilinear resizes aligned at the corners."""

    interpolate = staticmethod(with_corners)


COARSE = {
    "coordinates y, x": ("with_coordinates", swapped),
    "coordinates of the grid": (
        "to_grid",
        lambda level, cells: with_coordinates(to_grid(level, cells)[:, :256]),
    ),
    "coordinates at cell centres": ("with_coordinates", at_cell_centres),
    "aligned corners": ("F", Corners),
    "p6 as it is": ("for_towers", lambda levels: levels),
}


@pytest.mark.parametrize(("name", "wrong"), COARSE.values(), ids=COARSE)
def test_another_way_into_the_grid_is_seen(
    name: str,
    wrong: Any,
    adelaidet: Run,
    levels: list[Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network, name, wrong)
    level = network.for_towers(levels)[4]
    _, kernels = adelaidet.imported.network.cells(level, GRIDS[4])
    assert adelaidet.golden.off("1", "kernel_4", kernels) > 50 * NEAR["kernel"]


def test_other_groups_are_seen(
    adelaidet: Run, levels: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = adelaidet.imported.network
    for block in net.kernel_tower:
        monkeypatch.setattr(block[1], "num_groups", 16)
    _, kernels = net.cells(for_towers(levels)[4], GRIDS[4])
    assert adelaidet.golden.off("1", "kernel_4", kernels) > 0.1


def test_a_relu_that_is_missing_behind_the_mask_features_is_seen(
    adelaidet: Run, levels: list[Tensor]
) -> None:
    net = adelaidet.imported.network
    conv, norm, _ = net.mask_features
    features = norm(conv(sum(net.mask_parts(levels))))
    assert adelaidet.golden.off("1", "mask_features", features) > 1


def of_one_class(found: Candidates, kernels: Tensor, pixels: Tensor) -> Candidates:
    alike = replace(found, classes=torch.zeros_like(found.classes))
    return replace(SUPPRESS(alike, kernels, pixels), classes=found.classes)


def linear(overlap: Tensor) -> Tensor:
    covered = overlap.amax(dim=0)
    return ((1 - overlap) / (1 - covered[:, None])).amin(dim=0)


def centred(scores: Tensor) -> Tensor:
    return scores * (scores == F.max_pool2d(scores, 3, 1, 1))


def summed_only(kernels: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    area, _ = MEASURED(kernels, pixels)
    return area, area


SUPPRESS, MEASURED = postprocess.suppress, postprocess.measured
DECODING = {
    "no points NMS": ("points_nms", lambda scores: scores),
    "points NMS around the cell": ("points_nms", centred),
    "no maskness": ("measured", summed_only),
    "decay over all classes": ("suppress", of_one_class),
    "decay not compensated": ("decay", lambda o: torch.exp(-2 * o.amax(dim=0) ** 2)),
    "linear decay": ("decay", linear),
    "another sigma": ("SIGMA", 0.5),
    "not cut before the last resize": (
        "lines",
        lambda given, within, wanted: half_pixel(4 * given, wanted) @ half_pixel(given, 4 * given),
    ),
    "logits resized": (
        "mask_maps",
        # above 0.5 where the logit is above 0
        lambda kernels, f: 0.5 + (kernels @ f.flatten(1)).view(-1, *f.shape[1:]),
    ),
}


@pytest.mark.parametrize(("name", "wrong"), DECODING.values(), ids=DECODING)
def test_another_decoding_is_seen(
    name: str, wrong: Any, adelaidet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postprocess, name, wrong)
    again, recorded = adelaidet.found("1")
    assert again < 0.9 * recorded
