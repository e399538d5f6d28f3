"""The shapes in a .pth file, in milliseconds: no torch, its tensors are left where they are."""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_MAX_PICKLE_BYTES = 10_000_000


class Shape(tuple[int, ...]):
    """Of one tensor."""

    __slots__ = ()


def pickled_shapes(data: bytes) -> Mapping[Any, Any] | None:
    """What `torch.save` wrote, with a `Shape` for every tensor.

    None where there is anything but tensors and plain values in it, or another layout than the
    archive of today's torch: torch reads those, or says what is wrong with them.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            [index] = [part for part in archive.infolist() if part.filename.endswith("/data.pkl")]
            if index.file_size > _MAX_PICKLE_BYTES:
                return None
            value = _Unpickler(archive.read(index), largest=len(data)).load()
    except Exception:  # noqa: BLE001 - a pickle can fail in every way there is
        return None
    return value if isinstance(value, Mapping) else None


class _Unpickler(pickle.Unpickler):
    """Makes shapes of tensors; knows no function of anybody else, so nothing is executed."""

    def __init__(self, data: bytes, *, largest: int) -> None:
        super().__init__(io.BytesIO(data))
        self._largest = largest

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        # A new function each time: a pickle may change attributes of what it is given.
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda _storage, _offset, size, *_: self._shape(size)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda shape, *_: shape
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return lambda: None
        raise pickle.UnpicklingError(f"{module}.{name}")

    def _shape(self, size: Sequence[int]) -> Shape:
        if math.prod(int(n) for n in size) > self._largest:
            raise pickle.UnpicklingError(f"a tensor of shape {size} in {self._largest} bytes")
        return Shape(size)

    def persistent_load(self, pid: Any) -> None:
        """Of a tensor's bytes nothing is wanted."""
