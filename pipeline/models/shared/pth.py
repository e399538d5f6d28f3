"""What a .pth file holds, read without torch: nothing in it is executed, no tensor is made.

Both layouts of `torch.save` are read, the archive of today and the stream of before. A tensor is
told by its type, shape and strides, and by the bytes of the file it lies in, so that it can be
compared with what is wanted before memory is taken for it.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pipeline.errors import ModelError
from pipeline.models.shared.archive import INDEX, OtherArchive, state_dict_parts
from pipeline.models.shared.pkl import read_pickle
from pipeline.models.shared.stored import EXPECTED, REFUSED, StoredTensor, look_through

__all__ = ["EXPECTED", "StoredTensor", "stored_tensors"]

_MAX_PICKLE_BYTES = 2_000_000
"""The largest Mask R-CNN has 80 kB, with its optimiser twice that."""
_STREAM = b"\x8a\n" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
"""What the layout of before begins with, behind the number of the pickle protocol."""
_STREAM_BYTES = 2 + len(_STREAM)

_BYTES = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}
_INERT = {
    ("torch", "Size"),
    ("torch", "device"),
    ("torch.serialization", "_get_layout"),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("set", "complex")),
    *(("collections", name) for name in ("Counter", "defaultdict")),
    *(("torch", dtype) for dtype, _ in _BYTES.values()),
}
"""What states of optimisers and schedules hold; it is read past."""
_REFUSED = REFUSED | {"BYTEARRAY8"}


def stored_tensors(data: bytes, origin: str) -> dict[str, StoredTensor]:
    """The state dict in a .pth or .pkl file, under the file's own names.

    Raises:
        ModelError: it is cut off, holds anything but tensors and plain values, or a tensor that is
            larger than what is stored of it.
    """
    try:
        value, storages = _read(data)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"weights {origin}: the file holds more than tensors; refused, nothing in it was "
            f"executed; {EXPECTED}"
        ) from error
    except OtherArchive as error:
        raise ModelError(f"weights {origin}: it is {error}; {EXPECTED}") from error
    except Exception as error:  # a pickle can fail in every way there is
        raise ModelError(
            f"weights {origin}: the file is cut off or damaged; fetch it again"
        ) from error
    return {
        key: _stored(tensor, storages, f"weights {origin}: {str(key)[:80]}")
        for key, tensor in _state_dict(value, origin).items()
    }


class _Storage(NamedTuple):
    kind: str
    key: str


class _Tensor(NamedTuple):
    """As the pickle says it, nothing of it looked at. A tuple, which no pickle can change."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


def _read(data: bytes) -> tuple[Any, Mapping[str, memoryview]]:
    if data.startswith(b"PK"):
        return _archive(data)
    return _stream(data) if data[2:_STREAM_BYTES] == _STREAM else (read_pickle(data), {})


def _state_dict(value: Any, origin: str) -> dict[str, _Tensor | StoredTensor]:
    """What was saved, out of the usual wrappings."""
    for wrapper in ("model", "state_dict"):
        if isinstance(value, Mapping) and isinstance(value.get(wrapper), Mapping):
            value = value[wrapper]
    kinds = _Tensor | StoredTensor
    if not isinstance(value, Mapping) or not all(isinstance(v, kinds) for v in value.values()):
        raise ModelError(f"weights {origin}: no state dict inside; save `model.state_dict()`")
    return {str(key).removeprefix("module."): tensor for key, tensor in value.items()}


def _stored(
    tensor: _Tensor | StoredTensor, storages: Mapping[str, memoryview], where: str
) -> StoredTensor:
    """Refuse what is not in the file as it says it is."""
    if isinstance(tensor, StoredTensor):
        return tensor
    storage, offset, shape, strides = tensor
    data = storages.get(storage.key) if isinstance(storage, _Storage) else None
    numbers = (offset, *shape, *strides) if isinstance(shape, tuple | list) else ()
    if data is None or len(shape) != len(strides) or not all(_counts(n) for n in numbers):
        raise ModelError(f"{where} is damaged; fetch the file again")
    dtype, size = _BYTES[storage.kind]
    there = len(data) // size
    elements = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if elements > there or (elements and last >= there):
        raise ModelError(
            f"{where} has {elements:,} elements of {dtype}, but {there:,} are stored; save "
            "`model.state_dict()` of tensors that are not expanded"
        )
    return StoredTensor(dtype, tuple(shape), tuple(strides), offset, data)


def _counts(value: Any) -> bool:
    return type(value) is int and value >= 0


def _archive(data: bytes) -> tuple[Any, dict[str, memoryview]]:
    parts = state_dict_parts(io.BytesIO(data))
    [index] = [name for name in parts if name.endswith(INDEX)]
    folder = index.removesuffix("data.pkl")
    whole = memoryview(data)
    held = {name: whole[part.start : part.start + part.size] for name, part in parts.items()}
    if bytes(held.get(folder + "byteorder", b"little")[:8]) != b"little":
        raise ValueError("big endian")
    if len(held[index]) > _MAX_PICKLE_BYTES:
        raise ValueError("too large")
    value, _ = _load(io.BytesIO(held[index]))
    within = folder + "data/"
    return value, {name[len(within) :]: held[name] for name in held if name.startswith(within)}


def _stream(data: bytes) -> tuple[Any, dict[str, memoryview]]:
    stream = io.BytesIO(data[: _STREAM_BYTES + _MAX_PICKLE_BYTES])
    stream.seek(_STREAM_BYTES)
    _load(stream)  # the number of the layout
    system, _ = _load(stream)
    if not system["little_endian"]:
        raise ValueError("big endian")
    value, sizes = _load(stream)
    keys, _ = _load(stream)
    at, whole, found = stream.tell(), memoryview(data), {}
    for key in keys:
        (count,) = struct.unpack_from("<q", data, at)
        size = sizes[key] * count
        if not 0 <= size <= len(data) - at - 8:
            raise ValueError("a storage ends behind the file")
        found[key] = whole[at + 8 : at + 8 + size]
        at += 8 + size
    return value, found


def _load(stream: io.BytesIO) -> tuple[Any, dict[str, int]]:
    """One pickle, and the bytes an element has by storage."""
    end = look_through(stream, _REFUSED)
    reader = _Unpickler(stream)
    value = reader.load()
    stream.seek(end)  # it may have read ahead
    return value, reader.sizes


class _Unpickler(pickle.Unpickler):
    """Makes `_Tensor`s of tensors; knows no function of anybody else, so nothing is executed."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.sizes: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Callable[..., Any] | str:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        # A new function each time: a pickle may change attributes of what it is given.
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return lambda *of: _Tensor(*of[:4])
        if module == "torch._utils" and name.startswith("_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module in ("torch", "torch.storage") and name in _BYTES:
            return name
        if (module, name) in _INERT:
            return lambda *_: {}
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        word, kind, key, _, _, *view = pid
        if word != "storage" or kind not in _BYTES or any(part is not None for part in view):
            raise pickle.UnpicklingError("a storage of another kind")
        self.sizes[key] = _BYTES[kind][1]
        return _Storage(kind, key)
