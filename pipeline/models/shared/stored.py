"""`StoredTensor`: a tensor as it lies in a file; and what is looked at before a pickle is read."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from dataclasses import dataclass, field

EXPECTED = "expected a .safetensors file, a .pth state dict saved by torch.save or a .pkl of arrays"
MAX_STEPS = 200_000
"""The largest Mask R-CNN has 20,000 steps, with its optimiser thrice that."""
REFUSED = frozenset({"NEXT_BUFFER", "READONLY_BUFFER", "EXT1", "EXT2", "EXT4", "PERSID"})
REFUSED |= {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as it lies in a file."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements, as `offset` is."""
    offset: int
    data: memoryview = field(repr=False)
    """Of all its storage."""

    @staticmethod
    def whole(
        dtype: str, shape: tuple[int, ...], data: memoryview, *, fortran: bool
    ) -> StoredTensor:
        """One that fills its storage, last axis or (`fortran`) first axis fastest."""
        lengths = shape if fortran else shape[::-1]
        steps = tuple(math.prod(lengths[:i]) for i in range(len(shape)))
        return StoredTensor(dtype, shape, steps if fortran else steps[::-1], 0, data)


def look_through(stream: io.BytesIO, refused: frozenset[str] = REFUSED) -> int:
    """Where the pickle at a stream's place ends; the place stays.

    Raises:
        pickle.UnpicklingError: a step of those refused, or a number memory would be taken for.
        ValueError: it is cut off, or has too many steps.
    """
    begin = stream.tell()
    for steps, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        largest = steps + 1 if opcode.name.endswith("PUT") else 1 << 63
        if opcode.name in refused or (isinstance(argument, int) and abs(argument) > largest):
            raise pickle.UnpicklingError(opcode.name)
        if steps > MAX_STEPS:
            raise ValueError("too long")
    end = stream.tell()
    stream.seek(begin)
    return end
