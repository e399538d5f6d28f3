"""Label Studio's packed runs, judged by the plainest reading of their format."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.formats.brush import pack, unpack

SIZE = (4, 6)


DIAGONAL = np.eye(*SIZE, dtype=bool)
"""Runs of one pixel; `DIAGONAL & False` and `| True` are one run."""


def unpacked_bit_by_bit(packed: list[int]) -> list[int]:
    """The plainest reading of the format, apart from ours."""
    bits = "".join(f"{byte:08b}" for byte in packed)
    at = 0

    def take(size: int) -> int:
        nonlocal at
        at += size
        return int(bits[at - size : at], 2)

    count, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        repeated, which = take(1), take(2)
        length = take(sizes[which]) + 1
        values += [take(word)] * length if repeated else [take(word) for _ in range(length)]
    return values


@pytest.mark.parametrize("mask", [DIAGONAL, ~DIAGONAL, DIAGONAL | True, DIAGONAL & False])
def test_brush_runs_are_rgba_and_come_back(mask: NDArray[np.bool_]) -> None:
    packed = pack(mask)
    assert unpacked_bit_by_bit(packed) == np.repeat(mask.reshape(-1) * 255, 4).tolist()
    assert np.array_equal(unpack(packed, SIZE), mask)


def test_a_run_longer_than_a_block_is_written_as_several() -> None:
    mask = np.ones((200, 200), bool)  # 160,000 values, a block has 65,536 at most
    assert unpacked_bit_by_bit(pack(mask)) == [255] * 160_000
    assert unpack(pack(mask), (200, 200)).all()


def test_values_that_are_not_repeated_are_read_too() -> None:
    bits = f"{8:032b}{7:05b}" + "0010" * 4 + "0" + "00" + "111"  # eight values, one block of them
    bits += "".join(f"{value:08b}" for value in (0, 0, 0, 255, 0, 0, 0, 127))
    bits += "0" * (-len(bits) % 8)
    packed = [int(bits[i:j], 2) for i, j in pairwise(range(0, len(bits) + 1, 8))]
    assert unpack(packed, (1, 2)).tolist() == [[True, False]]


@pytest.mark.parametrize(
    "packed", [[], [0] * 12, pack(DIAGONAL)[:-2], [255] * 40, pack(np.ones((9, 9), bool))]
)
def test_brush_runs_that_are_wrong_are_refused(packed: list[int]) -> None:
    with pytest.raises(ValueError, match="brush runs"):
        unpack(packed, SIZE)
