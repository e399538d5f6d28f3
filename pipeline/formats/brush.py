"""The packed runs of Label Studio's brush: bits of an RGBA picture, row by row.

A head of 32 bits for the number of values, 5 for the size of a value less one, and four times 4 for
the sizes of a length less one. Then blocks: one bit says whether a value is repeated, two which
size the length has, then the length less one, then the value once, or every value of the block.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Ints

_LENGTHS = (4, 8, 12, 16)
"""Sizes of lengths we write, in bits."""
_CHANNELS = 4


def pack(mask: NDArray[np.bool_]) -> list[int]:
    """The bytes of a mask (height, width): 255 in all four channels where it is, else 0."""
    flat = mask.reshape(-1)
    borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], borders, [flat.size]])) * _CHANNELS
    head = f"{flat.size * _CHANNELS:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in _LENGTHS)
    blocks, value = [head], bool(flat[0])
    for length in lengths.tolist():
        blocks.extend(_repeated(length, "1" * 8 if value else "0" * 8))
        value = not value
    bits = "".join(blocks)
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def _repeated(length: int, value: str) -> Iterable[str]:
    while length:
        here = min(length, 1 << _LENGTHS[-1])
        which = next(i for i, size in enumerate(_LENGTHS) if here <= 1 << size)
        yield f"1{which:02b}{here - 1:0{_LENGTHS[which]}b}{value}"
        length -= here


def unpack(packed: list[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (height, width) in these bytes: where the fourth channel is at least half.

    Raises:
        ValueError: they are of a picture of another size, or end too early.
    """
    height, width = size
    bits = np.unpackbits(np.array(packed, np.uint8))
    count, word = _number(bits, 0, 32), _number(bits, 32, 5) + 1
    lengths = [_number(bits, 37 + 4 * i, 4) + 1 for i in range(4)]
    if count != height * width * _CHANNELS:
        raise ValueError(f"brush runs of {count} values, the picture has {width} x {height} pixels")
    values = np.zeros(count, np.uint8)
    at, done = 53, 0
    while done < count:
        repeated, which = _number(bits, at, 1), _number(bits, at + 1, 2)
        end = done + 1 + _number(bits, at + 3, lengths[which])
        at += 3 + lengths[which]
        words = 1 if repeated else end - done
        if end > count or at + words * word > bits.size:
            raise ValueError("brush runs that end too early or reach beyond the picture")
        found = bits[at : at + words * word].reshape(words, word)[:, -8:]
        values[done:end] = found @ _weights(found.shape[1])
        at, done = at + words * word, end
    return values.reshape(height, width, _CHANNELS)[..., 3] > 127


def _weights(bits: int) -> Ints:
    weights: Ints = 1 << np.arange(bits)[::-1]
    return weights


def _number(bits: NDArray[np.uint8], at: int, size: int) -> int:
    found = bits[at : at + size]
    if found.size < size:
        raise ValueError("brush runs that end too early")
    return int(found @ _weights(size))
