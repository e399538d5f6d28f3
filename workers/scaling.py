"""How many segment workers, how many threads, how much shared memory. Pure decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

MIN_STORE_BYTES = 256 << 20
SPARE_STORE_BYTES = 128 << 20
"""Answers, weights and what Ray keeps for itself."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The segment workers to start."""

    workers: int
    gpus_each: float
    """0 on the CPU; a fraction where workers share a GPU."""
    threads: int
    """CPU threads of the model in each worker."""


def fleet(segment: int | str, *, gpus: int, cores: int) -> Fleet:
    """Choose for a machine or cluster.

    On the CPU the model gets all cores but one in eight, kept for decoding, tracking and
    publishing: below eight cores none, because they fit into the gaps between its batches better
    than the model could do without a core. A GPU worker needs few CPU threads.

    Args:
        segment: number of workers, or `auto`: one a GPU, or one on the CPU.
        gpus: GPUs that may be used; 0: run on the CPU.
        cores: usable CPU cores.
    """
    workers = max(1, gpus) if segment == "auto" else int(segment)
    if gpus:
        return Fleet(workers, min(1.0, gpus / workers), threads=max(1, min(4, cores // workers)))
    return Fleet(workers, 0.0, threads=max(1, (cores - cores // 8) // workers))


def store_bytes(*, in_flight_bytes: int, weights_bytes: int, free_bytes: int) -> int:
    """Size of the object store: twice what may be in flight, so that nothing ever spills.

    A frame that a worker still reads stays while its stream already sends the next.

    Args:
        in_flight_bytes: bound on the pixels in flight, over all streams.
        weights_bytes: of the model.
        free_bytes: free shared memory.
    """
    wanted = 2 * in_flight_bytes + weights_bytes + SPARE_STORE_BYTES
    return max(MIN_STORE_BYTES, min(wanted, int(free_bytes * 0.8)))


def groups(items: Sequence[T], size: int) -> list[tuple[T, ...]]:
    """The streams of each stream worker, `size` at most, in their order."""
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]
