"""How many pictures fit on a GPU: against the engine itself on tensors without content."""

from __future__ import annotations

import pytest

from benchmarks.gpu_steps.pretend import pretend
from pipeline.models.mask_rcnn.bench import network_for
from pipeline.models.mask_rcnn.family import MODELS
from pipeline.models.mask_rcnn.fit import (
    NEEDS,
    candidates_above,
    largest_batch,
    picture_bytes,
    repetition_bytes,
    table,
)


@pytest.mark.parametrize(
    ("name", "bucket", "precision"),
    [
        ("maskrcnn_resnet50_fpn", (800, 1344), "fp16"),
        ("maskrcnn_resnet50_fpn", (480, 640), "fp32"),
        ("maskrcnn_resnet50_fpn_v2", (800, 1344), "fp16"),
        ("maskrcnn_resnet18_fpn", (480, 640), "fp16"),
    ],
)
def test_what_is_known_of_a_model_is_what_its_engine_needs(
    name: str, bucket: tuple[int, int], precision: str
) -> None:
    need = pretend(network_for(name), bucket, 8, precision)

    each = 2 if precision == "fp32" else 1
    assert need.peak_bytes / 8 == pytest.approx(picture_bytes(name, bucket, precision), rel=0.02)
    assert need.weight_bytes == pytest.approx(NEEDS[name].weights_mb * 1e6 * each, rel=0.01)
    assert need.again_bytes == pytest.approx(repetition_bytes(8, 0.1), rel=0.05)


@pytest.mark.parametrize(("threshold", "candidates"), [(0.1, 10), (0.05, 20), (0.004, 90), (0, 90)])
def test_scores_of_a_proposal_sum_up_to_one(threshold: float, candidates: int) -> None:
    assert candidates_above(threshold) == 1000 * candidates


def test_the_repetition_of_every_candidate_takes_pictures_one_by_one() -> None:
    need = pretend(network_for("maskrcnn_resnet50_fpn"), (480, 640), 4, threshold=0.0)

    assert need.again_bytes == pytest.approx(repetition_bytes(4, 0.0), rel=0.02)
    assert repetition_bytes(4, 0.0) == repetition_bytes(1, 0.0) == 1_483_760_000
    # two of 20,000 candidates are compared together, eight of 10,000
    assert repetition_bytes(9, 0.05) == 2 * repetition_bytes(1, 0.05)
    assert repetition_bytes(9, 0.1) == 8 * repetition_bytes(1, 0.1)


def test_every_mask_rcnn_is_known() -> None:
    assert set(NEEDS) == {model.name for model in MODELS}


V1 = "maskrcnn_resnet50_fpn"


def test_a_batch_that_fits_by_hand() -> None:
    """6 GB: 0.9 of them, less 750 MB and 89 MB of weights, are 4,561 MB for three sets of pictures.

    One of 800 × 1344 needs 148.5 bytes a pixel, 159.7 MB: three sets of 9 are 4,311 MB, of 10 are
    4,790. With one batch under way two sets of 14 are 4,471 MB, of 15 are 4,790.
    """
    assert picture_bytes(V1, (800, 1344), "fp16") == pytest.approx(159.7e6, rel=1e-3)
    assert largest_batch(V1, (800, 1344), "fp16", 6e9) == 9
    assert largest_batch(V1, (800, 1344), "fp16", 6e9, depth=1) == 14
    assert largest_batch(V1, (800, 1344), "fp16", 6e9 - 89e6 / 0.9, loaded=True) == 9


def test_a_repetition_that_needs_more_than_a_set_of_pictures_has_its_room() -> None:
    """2 GB are 961 MB of room, 480 for two sets and a repetition of every candidate: too few."""
    assert largest_batch(V1, (800, 1344), "fp16", 2e9) == 2
    assert largest_batch(V1, (800, 1344), "fp16", 2e9, threshold=0.0) == 0
    # 3 GB are 1,861 MB: 1,484 of them for the repetition, 319 for two sets of one
    assert largest_batch(V1, (800, 1344), "fp16", 3e9, threshold=0.0) == 1


def test_a_card_that_is_too_small_takes_nothing_and_a_large_one_what_can_be_counted() -> None:
    """Masks of 106 pictures are the most numbers that 31 bits count, pixels of 124."""
    assert largest_batch(V1, (800, 1344), "fp16", 1.0e9) == 0
    assert largest_batch(V1, (800, 1344), "fp32", 6e9) == 4
    assert largest_batch(V1, (800, 1344), "fp16", 141e9) == 106
    assert 106 * 100 * 1024 * 14 * 14 < 2**31 < 107 * 100 * 1024 * 14 * 14
    assert largest_batch(V1, (1600, 2688), "fp16", 141e9) == 31


def test_the_line_names_every_card() -> None:
    assert table(V1, (800, 1344), "fp16").endswith(
        "6 GB: 9, 8 GB: 13, 12 GB: 20, 16 GB: 28, 24 GB: 43, 40 GB: 73, 80 GB: 106, 141 GB: 106"
    )
