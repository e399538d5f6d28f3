"""Each mistake that is listed beside recorded outputs is made by a test, which has to see it.

Listed are they in `mistakes.json` of a folder. Folders of detectron2 and torchvision without one
have that of their framework's Mask R-CNN.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DETECTRON2 = "d2_mask_rcnn_r50_fpn"
CONDINST, SOLOV2 = "condinst/test_golden.py", "solov2/test_golden.py"
QUERIES, YOLACT = "queries/test_golden.py", "yolact/test_mistakes.py"
GRID = f"{SOLOV2}::test_another_way_into_the_grid_is_seen"
DECODED = f"{SOLOV2}::test_another_decoding_is_seen"
NORMALISED = f"{SOLOV2}::test_another_normalisation_is_seen"
CHOSEN = f"{CONDINST}::test_another_selection_is_seen"
SCORED = f"{CONDINST}::test_another_score_is_seen"
MASKED = f"{CONDINST}::test_another_way_to_a_mask_is_seen"
ANSWERED = f"{QUERIES}::test_another_decoding_is_seen"
INSIDE = "queries/test_network.py::test_another_network_is_seen"

BY_NAME = {
    DETECTRON2: "mask_rcnn/detectron2/test_golden.py",
    "d2_cascade_mask_rcnn_r50_fpn": "cascade_mask_rcnn/test_golden.py",
    "d2_keypoint_rcnn_r50_fpn": "keypoint_rcnn/test_golden.py",
    "d2_pointrend_r50_fpn": "pointrend/test_golden.py",
    "tv_mask_rcnn_r50_fpn_v2": "mask_rcnn/engine/test_golden_v2.py",
    "yolact_plus_r50": YOLACT,
}
"""Whose tests call the mistakes as the list does."""

SEEN: dict[str, dict[str, str]] = {
    "adet_condinst_r50_fpn": {
        "nothing changed (control)": f"{CONDINST}::test_outputs_and_detections_are_those_recorded",
        "stride in the 3x3 convolution instead of the 1x1": (
            f"{CONDINST}::test_strides_in_the_other_convolution_are_seen"
        ),
        "picture given as RGB": f"{CONDINST}::test_red_first_is_seen",
        "no ReLU before p7": f"{CONDINST}::test_a_relu_that_is_missing_before_p7_is_seen",
        "group norm with 16 groups": f"{CONDINST}::test_other_groups_are_seen",
        "per-level scale left out": f"{CONDINST}::test_scales_that_are_left_out_are_seen",
        "exp instead of ReLU for the distances": f"{CONDINST}::test_exp_instead_of_relu_is_seen",
        "distances not multiplied with the stride": (
            f"{CONDINST}::test_distances_not_multiplied_with_the_stride_are_seen"
        ),
        "grid points at the corner of the cell (no half stride)": (
            f"{CHOSEN}[points at the corner of the cell]"
        ),
        "centre-ness from the class tower": f"{CONDINST}::test_heads_on_the_other_tower_are_seen",
        "controller on the class tower": f"{CONDINST}::test_heads_on_the_other_tower_are_seen",
        "threshold on the class score alone": (
            f"{CONDINST}::test_candidates_are_chosen_by_class_times_centreness"
        ),
        "score without the square root": f"{SCORED}[no root]",
        "score without centre-ness (threshold with)": f"{SCORED}[no centre-ness]",
        "NMS over all classes": f"{CHOSEN}[suppression over all classes]",
        "NMS threshold 0.5 instead of 0.6": f"{CHOSEN}[suppression at another overlap]",
        "relative coordinates with the other sign (pixel minus instance)": (
            f"{MASKED}[coordinates with the other sign]"
        ),
        "relative coordinates in the order y, x": f"{MASKED}[coordinates y, x]",
        "relative coordinates appended after the features": (
            f"{MASKED}[coordinates behind the features]"
        ),
        "relative coordinates divided by the stride, not by the size of interest": (
            f"{MASKED}[coordinates in strides]"
        ),
        "relative coordinates zero": f"{MASKED}[no coordinates]",
        "parameters read as weight, bias, weight, bias, ...": (
            f"{MASKED}[weight, bias, weight, bias]"
        ),
        "first weight read as input x output": f"{MASKED}[first weight turned]",
        "plain bilinear instead of the aligned one": f"{MASKED}[plain enlargement]",
        "logits enlarged to the end instead of probabilities": (
            f"{MASKED}[logits enlarged to the end]"
        ),
        "masks not cut to the unpadded size": f"{MASKED}[not cut before the last resize]",
        "masks cut to the box": f"{MASKED}[cut to the box]",
    },
    "adet_solov2_r50_fpn": {
        "nothing changed (control)": f"{SOLOV2}::test_outputs_and_detections_are_those_recorded",
        "stride in the 3x3 convolution instead of the 1x1": (
            f"{SOLOV2}::test_strides_in_the_other_convolution_are_seen"
        ),
        "picture given as RGB": f"{NORMALISED}[red first]",
        "divided by the ImageNet standard deviation as well": f"{NORMALISED}[divided]",
        "coordinate channels in the order y, x": f"{GRID}[coordinates y, x]",
        "coordinates made on the n x n grid, after the resize": f"{GRID}[coordinates of the grid]",
        "coordinates at cell centres instead of linspace(-1, 1) with both ends": (
            f"{GRID}[coordinates at cell centres]"
        ),
        "all bilinear resizes with corner alignment": f"{GRID}[aligned corners]",
        "p2 and p6 taken as they are (not halved / not doubled first)": f"{GRID}[p6 as it is]",
        "group norm with 16 groups": f"{SOLOV2}::test_other_groups_are_seen",
        "no ReLU after the last mask convolution": (
            f"{SOLOV2}::test_a_relu_that_is_missing_behind_the_mask_features_is_seen"
        ),
        "no points NMS": f"{DECODED}[no points NMS]",
        "points NMS with a centred 3x3 window": f"{DECODED}[points NMS around the cell]",
        "scores not multiplied with the maskness": f"{DECODED}[no maskness]",
        "decay over all classes": f"{DECODED}[decay over all classes]",
        "decay without compensation": f"{DECODED}[decay not compensated]",
        "linear decay": f"{DECODED}[linear decay]",
        "sigma 0.5 instead of 2": f"{DECODED}[another sigma]",
        "masks not cut to the unpadded size before the last resize": (
            f"{DECODED}[not cut before the last resize]"
        ),
        "logits resized instead of probabilities": f"{DECODED}[logits resized]",
        "no area filter": (f"{SOLOV2}::test_a_mask_no_larger_than_its_levels_stride_is_left_out"),
    },
    "solo_solov2_r50_fpn": {
        "nothing changed (control)": f"{SOLOV2}::test_outputs_and_detections_are_those_recorded",
        "stride in the 1x1 convolution instead of the 3x3": (
            f"{SOLOV2}::test_strides_in_the_other_convolution_are_seen"
        ),
        "picture given as BGR, mean and std in RGB order": f"{NORMALISED}[blue first]",
        "not divided by the standard deviation": f"{NORMALISED}[not divided]",
        "batch norm eps 0": f"{SOLOV2}::test_another_eps_of_norms_is_seen",
    },
    "mask2former_r50_coco_instance": {
        "nothing changed (control)": f"{QUERIES}::test_every_stage_is_within_its_tolerance",
        "picture given as BGR, mean and std in RGB order": (
            f"{QUERIES}::test_a_picture_in_the_other_order_is_seen"
        ),
        **{
            change: f"{INSIDE}[{change}]"
            for change in (
                "stride in the 1x1 convolution instead of the 3x3",
                "batch norm eps 0",
                "position encoding x first, then y",
                "position encoding not normalised to 2 pi",
                "encoder levels embedded fine to coarse",
                "sampling offsets read as y, x",
                "attention weights normalised per level instead of over all 12 points",
                "nearest instead of bilinear before c2 is added",
                "query feature and query position exchanged",
                "self-attention before cross-attention",
                "attention not masked",
                "no decoder norm before the heads",
            )
        },
        "best class per query instead of the best 100 (query, class) pairs": (
            f"{ANSWERED}[best class of each query]"
        ),
        "score not multiplied with the mask score": f"{ANSWERED}[not weighed by the mask]",
        "masks not cut to the unpadded size": f"{ANSWERED}[padding not cut]",
        "probabilities instead of logits resized to the output": (
            f"{ANSWERED}[probabilities resized]"
        ),
        "transformers' post-processing (384x384, nearest, not cut; no threshold)": (
            f"{ANSWERED}[as transformers decodes]"
        ),
    },
}
"""Of the others, which test makes which mistake."""


def listed(shared_data: Path, folder: str) -> set[str]:
    """By name, as the folder has them, or that of its framework."""
    own = shared_data / "golden" / folder / "mistakes.json"
    path = own if own.exists() else shared_data / "golden" / DETECTRON2 / "mistakes.json"
    return {row["change"] for row in json.loads(path.read_text())}


def strings(file: str) -> tuple[set[str], set[str]]:
    """The tests of a file, and its texts."""
    tree = list(ast.walk(ast.parse((HERE / file).read_text())))
    tests = {node.name for node in tree if isinstance(node, ast.FunctionDef)}
    texts = {node.value for node in tree if isinstance(node, ast.Constant)}
    return tests, {text for text in texts if isinstance(text, str)}


def made_by_name(file: str) -> set[str]:
    """The texts of a file of tests, and of the tables of mistakes it uses."""
    _, texts = strings(file)
    if "from tests.pipeline.models.mistakes import" in (HERE / file).read_text():
        texts |= strings("mistakes.py")[1]
    return texts


WITHOUT_A_LIST = {
    "d2_mask_rcnn_r101_fpn": DETECTRON2,
    "d2_mask_rcnn_x101_32x8d_fpn": DETECTRON2,
    "tv_mask_rcnn_r50_fpn_v1": "tv_mask_rcnn_r50_fpn_v2",
    "tv_keypoint_rcnn_r50_fpn_v1": "tv_mask_rcnn_r50_fpn_v2",
    "yolact_r50": "yolact_plus_r50",
}
"""Folders whose network is that of another one, but for what their own tests change."""


def test_every_folder_is_accounted_for(shared_data: Path) -> None:
    if not (shared_data / "golden").is_dir():
        pytest.skip(f"no recorded outputs at {shared_data / 'golden'}")
    folders = {path.parent.name for path in (shared_data / "golden").glob("*/manifest.json")}
    assert folders == {*BY_NAME, *SEEN, *WITHOUT_A_LIST}


@pytest.mark.parametrize("folder", [*BY_NAME, *SEEN])
def test_every_listed_mistake_is_made_by_a_test(shared_data: Path, folder: str) -> None:
    if not (shared_data / "golden").is_dir():
        pytest.skip(f"no recorded outputs at {shared_data / 'golden'}")
    wanted = listed(shared_data, folder)
    assert len(wanted) >= 5
    if folder in BY_NAME:
        assert wanted <= made_by_name(BY_NAME[folder])
        return
    assert wanted == SEEN[folder].keys()
    for place in SEEN[folder].values():
        file, _, name = place.partition("::")
        test, _, row = name.rstrip("]").partition("[")
        tests, texts = strings(file)
        assert test in tests, place
        assert not row or row in texts, place
