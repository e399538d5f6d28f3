"""Resize, normalisation and padding against torchvision's transform."""

import numpy as np
import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from pipeline.models.mask_rcnn.bench import to_torchvision
from pipeline.models.mask_rcnn.engine.operators.preprocess import InputRules, prepare

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RULES = InputRules(160, 288, MEAN, STD)
TRANSFORM = GeneralizedRCNNTransform(160, 288, list(MEAN), list(STD)).eval()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    "size", [(160, 288), (90, 120), (333, 500), (1080, 1920), (640, 480), (160, 160), (37, 501)]
)
def test_in_float32_the_input_is_that_of_torchvision(size: tuple[int, int]) -> None:
    image = noise(*size)
    (theirs, _) = TRANSFORM([to_torchvision(image)])

    ours = prepare([image], RULES, torch.float32)

    assert ours.sizes.tolist() == [list(theirs.image_sizes[0])]
    assert ours.pixels.shape == theirs.tensors.shape
    assert ours.pixels.is_contiguous(memory_format=torch.channels_last)
    assert (ours.pixels - theirs.tensors).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(160, 288), (333, 500), (1080, 1920)])
def test_in_bf16_the_input_differs_by_half_a_grey_level_and_the_rounding(
    size: tuple[int, int],
) -> None:
    image = noise(*size)
    (theirs, _) = TRANSFORM([to_torchvision(image)])

    ours = prepare([image], RULES, torch.bfloat16)

    half_a_level = 0.6 / 255 / min(STD)
    rounding = theirs.tensors.abs().max() * 2**-8
    assert (ours.pixels.float() - theirs.tensors).abs().max() < half_a_level + rounding


def test_the_rule_of_torchvision_rounds_down() -> None:
    rules = InputRules(800, 1333, MEAN, STD)

    assert rules.resized((1080, 1920)) == (749, 1333)
    assert rules.padded((1080, 1920)) == (768, 1344)
    assert rules.resized((480, 640)) == (800, 1066)
    assert rules.resized((1, 1)) == (800, 800)


def test_a_line_of_pixels_keeps_at_least_one_row() -> None:
    rules = InputRules(800, 1333, MEAN, STD)

    assert rules.resized((1, 5000)) == (1, 1333)
    assert prepare([noise(1, 5000)], rules, torch.float32).pixels.shape == (1, 3, 32, 1344)
    assert prepare([noise(5000, 1)], rules, torch.bfloat16).pixels.shape == (1, 3, 1344, 32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_read_only_and_strided_pictures_are_the_same_pictures(dtype: torch.dtype) -> None:
    image = noise(90, 120)
    frozen = image.copy()
    frozen.flags.writeable = False
    wide = np.zeros((180, 240, 3), np.uint8)
    wide[::2, ::2] = image

    pixels = prepare([image, frozen, wide[::2, ::2]], RULES, dtype).pixels

    assert torch.equal(pixels[0], pixels[1])
    assert torch.equal(pixels[0], pixels[2])
