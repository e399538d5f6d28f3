"""How pictures and instances cross processes; nobody else knows these forms.

Pictures travel as one argument of contiguous arrays: a large one Ray copies once into shared
memory, and the other side reads it there. Instances of a whole call travel as a handful of arrays
laid end to end, because a hundred small arrays cost more to pickle than all their bytes. What is
unpacked owns its memory: a tracker may keep a mask for minutes, and shared memory must not stay
pinned by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SegmentFailed
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.masks import Masks
from workers.members import Load

Pictures: TypeAlias = Mapping[str, Sequence[NDArray[np.uint8]]]
"""The pictures of a call by stream; outcomes come in their order, one stream after another."""

OPTIONAL = ("track_ids", "predicted", "embeddings", "keypoints")


@dataclass(frozen=True, slots=True)
class Packed:
    """The outcomes of one call: k pictures, n instances, m runs."""

    sizes: NDArray[np.int32]
    """(k, 2) height and width."""
    rows: NDArray[np.int32]
    """(k,) instances of each picture."""
    lengths: NDArray[np.int32]
    """(n,) runs of each mask."""
    counts: NDArray[np.uint32]
    """(m,)"""
    columns: dict[str, NDArray[Any]]
    """Every other field of `Instances`, n rows."""
    failed: dict[int, tuple[str, str]]
    """Cause and detail by picture; such a picture has no instances."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a segment worker gives back for a call."""

    outcomes: Packed | None
    """None: it has a frame that must be alone, this one too; it was not looked at."""
    load: Load
    """How busy it is, this call no longer counted."""
    inside_s: float = 0.0
    """From its arrival to this answer; the rest of the time until it is back it was on its way."""


def packed_pictures(frames: Iterable[tuple[str, Frame]]) -> Pictures:
    """The pictures of frames, contiguous, so that pickling leaves them out of band."""
    pictures: dict[str, list[NDArray[np.uint8]]] = {}
    for stream, frame in frames:
        pictures.setdefault(stream, []).append(np.ascontiguousarray(frame.image))
    return pictures


def pack(outcomes: Sequence[Instances | SegmentFailed], sizes: Sequence[tuple[int, int]]) -> Packed:
    """Lay the outcomes of a call end to end; `sizes` are (height, width) of its pictures."""
    failed = {
        row: (outcome.cause, outcome.detail)
        for row, outcome in enumerate(outcomes)
        if isinstance(outcome, SegmentFailed)
    }
    all_instances = [
        Instances.empty(size) if isinstance(outcome, SegmentFailed) else outcome
        for outcome, size in zip(outcomes, sizes, strict=True)
    ]
    some = [instances for instances in all_instances if len(instances)]
    columns = {
        name: np.concatenate([getattr(instances, name) for instances in some])
        for name in ("boxes", "scores", "class_ids", *OPTIONAL)
        if some and getattr(some[0], name) is not None
    }
    return Packed(
        sizes=np.array(sizes, np.int32).reshape(-1, 2),
        rows=np.array([len(instances) for instances in all_instances], np.int32),
        lengths=np.concatenate(
            [np.zeros(0, np.int64), *(np.diff(instances.masks.offsets) for instances in some)]
        ).astype(np.int32),
        counts=np.concatenate(
            [np.zeros(0, np.uint32), *(instances.masks.counts for instances in some)]
        ),
        columns=columns,
        failed=failed,
    )


def unpack(packed: Packed) -> list[Instances | SegmentFailed]:
    """The outcomes of a call, in its order; their arrays own their memory."""
    ends = np.cumsum(packed.rows)
    mask_ends = np.concatenate([[0], np.cumsum(packed.lengths, dtype=np.int64)])
    outcomes: list[Instances | SegmentFailed] = []
    for row, (end, count) in enumerate(zip(ends, packed.rows, strict=True)):
        size = (int(packed.sizes[row, 0]), int(packed.sizes[row, 1]))
        if row in packed.failed:
            outcomes.append(SegmentFailed(*packed.failed[row]))
        elif count == 0:
            outcomes.append(Instances.empty(size))
        else:
            first, last = int(end - count), int(end)
            offsets = mask_ends[first : last + 1]
            masks = Masks(
                size, packed.counts[offsets[0] : offsets[-1]].copy(), offsets - offsets[0]
            )
            columns = {name: values[first:last].copy() for name, values in packed.columns.items()}
            outcomes.append(Instances(masks=masks, **columns))
    return outcomes
