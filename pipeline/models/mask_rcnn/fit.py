"""How many pictures go through a GPU at once, known before it is tried.

The numbers come from the engine itself, run on tensors without content
(`python -m benchmarks.gpu_steps.pretend`); a test compares them. Every batch under way keeps what
its recorded pass needs, which peaks either in the first stage of the body or in the heads. Beside
them there is room for one more: for the first passes of another number of pictures, which are not
recorded yet, or for a repetition with all candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CARDS_GB = (6, 8, 12, 16, 24, 40, 80, 141)
_SPARE_BYTES = 750_000_000
"""Workspaces of libraries, and graphs of a few sizes."""
_USABLE = 0.9
"""Of what is free: memory comes in blocks."""
_MOST_NUMBERS = 2**31 - 1
"""In one tensor: some kernels of torch and cuDNN count in 32 bits."""
_PAIRS_AT_ONCE = 2**31
"""Of candidates, in the repetition."""
_MASK_NUMBERS = 100 * 1024 * 14 * 14
"""A picture's largest tensor in the mask head; in the body it is 16 a padded pixel."""


@dataclass(frozen=True)
class Need:
    """Of one network in a format of two bytes."""

    weights_mb: float
    body: float
    """Bytes a padded pixel at the peak of the body."""
    heads_mb: float
    """A picture at the peak of the heads: proposals and masks, and"""
    levels: float
    """bytes a padded pixel there: the pyramid."""


_R50 = Need(89, 148.5, 65.7, 48.5)
NEEDS: Mapping[str, Need] = {
    "maskrcnn_resnet50_fpn": _R50,
    "maskrcnn_resnet50_fpn_v2": Need(93, _R50.body, 75.3, 93.7),
    "maskrcnn_resnet18_fpn": Need(29, 78.0, 31.1, 27.3),
    "maskrcnn_resnet101_fpn": Need(127, _R50.body, _R50.heads_mb, _R50.levels),
    "maskrcnn_resnext101_32x8d_fpn": Need(216, _R50.body, _R50.heads_mb, _R50.levels),
}


def picture_bytes(name: str, bucket: tuple[int, int], precision: str) -> float:
    """What a picture adds to the peak of a pass.

    Args:
        name: of the model.
        bucket: padded (height, width).
        precision: `fp32`, `fp16` or `bf16`.
    """
    need, pixels = NEEDS[name], bucket[0] * bucket[1]
    half = max(need.body * pixels, need.heads_mb * 1e6 + need.levels * pixels)
    return half * (2 if precision == "fp32" else 1)


def candidates_above(threshold: float) -> int:
    """The most of a picture's 1000 × 90 scores that can be above a threshold: they sum up to 1."""
    return 1000 * (min(90, int(1 / threshold)) if threshold > 0 else 90)


def repetition_bytes(batch: int, threshold: float) -> int:
    """What a repetition with all candidates of a batch adds, which compares them in pairs."""
    candidates = min(90_000, _power_of_two(candidates_above(threshold)))
    at_once = max(1, _PAIRS_AT_ONCE // candidates**2)
    words = _power_of_two(-(-candidates // 32))
    return min(batch, at_once) * (candidates * (4 * words + 80) + 2_000_000)


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def largest_batch(
    name: str,
    bucket: tuple[int, int],
    precision: str,
    free_bytes: float,
    *,
    threshold: float = 0.1,
    depth: int = 2,
    loaded: bool = False,
) -> int:
    """Pictures that fit into memory together; 0: not one.

    Args:
        name: of the model.
        bucket: padded (height, width).
        precision: of the dense part.
        free_bytes: of the GPU.
        threshold: of scores.
        depth: batches under way.
        loaded: the weights are there already.
    """
    weights = 0.0 if loaded else NEEDS[name].weights_mb * 1e6 * (2 if precision == "fp32" else 1)
    room = _USABLE * free_bytes - _SPARE_BYTES - weights
    each = picture_bytes(name, bucket, precision)
    most = _MOST_NUMBERS // max(16 * bucket[0] * bucket[1], _MASK_NUMBERS)

    def fits(batch: int) -> bool:
        beside = max(batch * each, repetition_bytes(batch, threshold))
        return depth * batch * each + beside <= room

    return max(filter(fits, range(1, most + 1)), default=0)


def table(name: str, bucket: tuple[int, int], precision: str) -> str:
    """One line: the largest batch by the size of a card."""
    batches = (largest_batch(name, bucket, precision, 1e9 * card) for card in CARDS_GB)
    cells = ", ".join(f"{card} GB: {n}" for card, n in zip(CARDS_GB, batches, strict=True))
    return f"largest batch on a GPU in {precision}, {bucket[0]}x{bucket[1]}, two under way: {cells}"
