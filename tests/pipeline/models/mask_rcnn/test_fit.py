"""How many pictures fit on a GPU: against the engine itself on tensors without content."""

from __future__ import annotations

import pytest

from benchmarks.gpu_steps.pretend import pretend
from pipeline.models import MODELS
from pipeline.models.mask_rcnn.bench import network_for
from pipeline.models.mask_rcnn.fit import NEEDS, largest_batch, picture_bytes, table


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


def test_every_mask_rcnn_is_known() -> None:
    assert set(NEEDS) == {m.name for m in MODELS.values() if m.family.needs_weights}


def test_a_card_that_is_too_small_takes_nothing_and_a_large_one_much() -> None:
    v1 = "maskrcnn_resnet50_fpn"
    assert largest_batch(v1, (800, 1344), "fp16", 1.0e9) == 0
    assert [largest_batch(v1, (800, 1344), "fp16", n * 1e9) for n in (6, 24, 141)] == [14, 65, 394]
    assert largest_batch(v1, (800, 1344), "fp32", 6e9) < 14
    assert largest_batch(v1, (800, 1344), "fp16", 6e9, depth=1) >= 28


def test_the_line_names_every_card() -> None:
    assert table("maskrcnn_resnet50_fpn", (800, 1344), "fp16").endswith(
        "6 GB: 14, 8 GB: 19, 12 GB: 31, 16 GB: 42, 24 GB: 65, 40 GB: 110, 80 GB: 222, 141 GB: 394"
    )
