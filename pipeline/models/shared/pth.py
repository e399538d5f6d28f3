"""What a .pth file holds, read without torch: nothing in it is executed, no tensor is made.

Both layouts of `torch.save` are read, the archive of today and the stream of before. A tensor is
told by its type, shape and strides, and by the bytes of the file it lies in, so that it can be
compared with what is wanted before memory is taken for it.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.errors import ModelError
from pipeline.models.shared.archive import INDEX, OtherArchive, state_dict_parts

EXPECTED = "expected a .safetensors file or a .pth state dict saved by torch.save"
_MAX_PICKLE_BYTES, _MAX_STEPS = 2_000_000, 200_000
"""The largest Mask R-CNN has 80 kB and 20,000 steps, with its optimiser twice and thrice that."""
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
_REFUSED = {"BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER", "EXT1", "EXT2", "EXT4", "PERSID"}
_REFUSED |= {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"}


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


def stored_tensors(data: bytes, origin: str) -> dict[str, StoredTensor]:
    """The state dict in a .pth file, under torchvision's names.

    Raises:
        ModelError: it is cut off, holds anything but tensors and plain values, or a tensor that is
            larger than what is stored of it.
    """
    try:
        value, storages = _archive(data) if data.startswith(b"PK") else _stream(data)
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


def _state_dict(value: Any, origin: str) -> dict[str, _Tensor]:
    """What was saved, out of the usual wrappings."""
    for wrapper in ("model", "state_dict"):
        if isinstance(value, Mapping) and isinstance(value.get(wrapper), Mapping):
            value = value[wrapper]
    if not isinstance(value, Mapping) or not all(isinstance(v, _Tensor) for v in value.values()):
        raise ModelError(f"weights {origin}: no state dict inside; save `model.state_dict()`")
    return {str(key).removeprefix("module."): tensor for key, tensor in value.items()}


def _stored(tensor: _Tensor, storages: Mapping[str, memoryview], where: str) -> StoredTensor:
    """Refuse what is not in the file as it says it is."""
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
    if data[2:_STREAM_BYTES] != _STREAM:
        raise pickle.UnpicklingError("a pickle of something else")
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
    begin = stream.tell()
    for steps, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        largest = steps + 1 if opcode.name.endswith("PUT") else 1 << 63
        if opcode.name in _REFUSED or (isinstance(argument, int) and abs(argument) > largest):
            raise pickle.UnpicklingError(opcode.name)
        if steps > _MAX_STEPS:
            raise ValueError("too long")
    end = stream.tell()
    stream.seek(begin)
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
