"""The text form of runs that COCO, pycocotools and everything around them read.

Each run is written as its difference from the run two before it (from the fourth on), five bits a
character, least significant first, the sign in the last one. All masks are coded in one go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Ints, Size
from pipeline.masks.runs import (
    cancel_pairs,
    check_runs,
    from_toggles,
    portions,
    to_toggles,
)

RUNS_AT_A_TIME = 1 << 15
"""Few enough that the arrays of one round stay in the cache."""


def compress(counts: NDArray[np.uint32], offsets: Ints) -> list[str]:
    """One string a mask, byte for byte as pycocotools writes it."""
    texts: list[str] = []
    for some in portions(np.diff(offsets), RUNS_AT_A_TIME):
        borders = offsets[some.start : some.stop + 1]
        texts += _compressed(counts[borders[0] : borders[-1]], borders - borders[0])
    return texts


def _compressed(counts: NDArray[np.uint32], offsets: Ints) -> list[str]:
    values = counts.astype(np.int64)
    values[2:] -= counts[:-2]
    starts = offsets[:-1]
    for place in range(3):  # the first three runs of a mask are written as they are
        here = starts[starts + place < offsets[1:]] + place
        values[here] = counts[here]
    size = values ^ (values >> 63)  # how many bits are needed beside the sign
    lengths = np.ones(len(values), np.int64)
    for bits in range(4, 33, 5):
        more = size >> bits > 0
        if not more.any():
            break
        lengths += more
    ends = np.cumsum(lengths)
    text = np.empty(ends[-1], np.uint8)
    at, left = ends - lengths, lengths
    while len(at):
        text[at] = (values & 31 | np.where(left > 1, 32, 0)) + 48
        rest = left > 1
        at, values, left = at[rest] + 1, values[rest] >> 5, left[rest] - 1
    whole = text.tobytes().decode("ascii")
    borders = np.concatenate([[0], ends[offsets[1:] - 1]]).tolist()
    return [whole[i:j] for i, j in pairwise(borders)]


def decompress(texts: Sequence[bytes]) -> tuple[Ints, Ints]:
    """The signed counts of all texts and their offsets, not yet checked against a picture.

    Raises:
        ValueError: a text is empty, holds other characters, or ends inside a number.
    """
    values, lengths = [np.zeros(0, np.int64)], [np.zeros(1, np.int64)]
    for some in portions(np.array([len(text) for text in texts], np.int64), RUNS_AT_A_TIME):
        found, offsets = _decompressed(texts[some], some.start)
        values.append(found)
        lengths.append(np.diff(offsets))
    return np.concatenate(values), np.cumsum(np.concatenate(lengths))


def _decompressed(texts: Sequence[bytes], number: int) -> tuple[Ints, Ints]:
    lengths = np.array([len(text) for text in texts], np.int64)
    code = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - 48
    borders = np.concatenate([[0], np.cumsum(lengths)])
    last = code & 32 == 0
    wrong = lengths == 0
    if len(code):
        bad = (code < 0) | (code > 63)
        wrong |= np.array([bad[i:j].any() for i, j in pairwise(borders.tolist())])
        wrong |= ~last[borders[1:] - 1]
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"mask {number + row}: counts {texts[row][:40]!r} are not a compressed COCO RLE"
        )
    final = np.flatnonzero(last)
    first = np.concatenate([[0], final[:-1] + 1])
    width = final - first + 1
    if width.max(initial=0) > 8:
        row = int(np.searchsorted(borders, first[np.argmax(width)], side="right")) - 1
        raise ValueError(f"mask {number + row}: counts hold a number too large for any picture")
    place = np.arange(len(code)) - np.repeat(first, width)
    values = np.add.reduceat((code & 31) << (5 * place), first)
    values[code[final] & 16 > 0] -= (np.int64(1) << 5 * width)[code[final] & 16 > 0]
    offsets = np.searchsorted(first, borders)
    return _undo_differences(values, offsets), offsets


def _undo_differences(values: Ints, offsets: Ints) -> Ints:
    """Running sums over every second value of each mask; the very first stands alone."""
    lengths = np.diff(offsets)
    place = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
    summed = values.copy()
    for parity in (0, 1):
        chain = np.flatnonzero((place % 2 == parity) & (place > 0))
        running = np.cumsum(values[chain])
        fresh = place[chain] < 3  # where the chain of a mask begins
        before = (running - values[chain])[fresh]
        summed[chain] = running - before[np.cumsum(fresh) - 1]
    return summed


def parse(rles: Sequence[Mapping[str, Any]], size: Size) -> tuple[NDArray[np.uint32], Ints]:
    """Counts and offsets of COCO RLE objects, compressed (str, bytes) or lists of counts.

    Runs of 0 that other writers leave inside are joined away.

    Raises:
        ValueError: naming the mask: another size, text that is no RLE, runs that do not sum up.
    """
    texts: list[bytes] = []
    plain: dict[int, Ints] = {}
    for row, rle in enumerate(rles):
        found = tuple(int(v) for v in rle["size"])
        if found != tuple(size):
            raise ValueError(f"mask {row} has size {list(found)}, the picture {list(size)}")
        counts = rle["counts"]
        if isinstance(counts, str):
            texts.append(counts.encode("utf-8"))
        elif isinstance(counts, bytes):
            texts.append(counts)
        else:
            plain[row] = np.array(counts, np.int64).reshape(-1)
            texts.append(b"0")
    values, offsets = decompress(texts)
    if plain:
        parts = np.split(values, offsets[1:-1])
        for row, counts in plain.items():
            parts[row] = counts
        values = np.concatenate(parts)
        offsets = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    if len(values) and (values.min() < 0 or values.max() > size[0] * size[1]):
        at = int(np.argmax((values < 0) | (values > size[0] * size[1])))
        row = int(np.searchsorted(offsets, at, side="right")) - 1
        raise ValueError(
            f"mask {row} has a run of {values[at]} pixels in a picture of {list(size)}"
        )
    return canonical(values.astype(np.uint32), offsets, size)


def canonical(
    counts: NDArray[np.uint32], offsets: Ints, size: Size
) -> tuple[NDArray[np.uint32], Ints]:
    """The same masks without runs of 0 behind the first run.

    Raises:
        ValueError: runs that do not sum to the pixels of the picture.
    """
    zero = counts == 0
    zero[offsets[:-1][offsets[:-1] < len(zero)]] = False
    if zero.any():
        sums = np.add.reduceat(counts, offsets[:-1], dtype=np.int64)
        if (sums == size[0] * size[1]).all():
            toggles = cancel_pairs(to_toggles(counts, offsets, size))
            return from_toggles(toggles, len(offsets) - 1, size)
    check_runs(counts, offsets, size)
    return counts, offsets
