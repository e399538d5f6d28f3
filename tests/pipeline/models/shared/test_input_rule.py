"""Pictures as the networks of two frameworks want them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.models.shared.input_rule import ADELAIDET_RULE, OPENMMLAB_RULE, InputRule

CPU = torch.device("cpu")
RULES = {"adelaidet": ADELAIDET_RULE, "openmmlab": OPENMMLAB_RULE}


@pytest.mark.parametrize(
    ("size", "resized", "padded"),
    [
        ((1080, 1920), (750, 1333), (768, 1344)),
        ((480, 640), (800, 1067), (800, 1088)),
        ((600, 600), (800, 800), (800, 800)),
        ((1, 4000), (1, 1333), (32, 1344)),
    ],
)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_sides_fit_into_800_and_1333(
    rule: InputRule, size: tuple[int, int], resized: tuple[int, int], padded: tuple[int, int]
) -> None:
    assert (rule.resized(size), rule.padded(size)) == (resized, padded)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_adelaidets_pictures_are_blue_first_antialiased_and_not_divided() -> None:
    image = picture(90, 120)
    rule = replace(ADELAIDET_RULE, shorter=30)
    given = rule.prepare([image], torch.float32, CPU)[0].permute(1, 2, 0).numpy()
    small = np.asarray(Image.fromarray(image).resize((40, 30), Image.Resampling.BILINEAR))
    assert given.shape == (32, 64, 3)
    assert np.array_equal(given[:30, :40], small - np.float32([103.53, 116.28, 123.675]))
    assert not given[30:].any()
    assert not given[:, 40:].any()


def test_openmmlabs_pictures_are_red_first_by_opencv_and_divided() -> None:
    image = picture(90, 120)
    rule = replace(OPENMMLAB_RULE, shorter=30)
    given = rule.prepare([image], torch.float32, CPU)[0].permute(1, 2, 0).numpy()
    small = cv2.resize(image, (40, 30), interpolation=cv2.INTER_LINEAR)[:, :, ::-1]
    expected = (small - np.float32([123.675, 116.28, 103.53])) / np.float32([58.395, 57.12, 57.375])
    assert np.array_equal(given[:30, :40], expected)
    assert not given[30:].any()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_bf16_is_the_rounded_fp32_and_channels_come_last(rule: InputRule) -> None:
    rule = replace(rule, shorter=60)
    images = [picture(90, 120), picture(90, 118)]
    exact = rule.prepare(images, torch.float32, CPU)
    rounded = rule.prepare(images, torch.bfloat16, CPU)
    assert torch.equal(rounded, exact.bfloat16())
    assert rounded.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_picture_may_have_any_strides_and_is_not_written_to(rule: InputRule) -> None:
    image = picture(90, 120)[:, ::-1]
    image.flags.writeable = False
    turned = rule.prepare([image], torch.float32, CPU)
    assert torch.equal(turned, rule.prepare([np.ascontiguousarray(image)], torch.float32, CPU))
