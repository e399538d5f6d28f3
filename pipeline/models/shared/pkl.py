"""What a .pkl file holds, read without numpy's own unpickling: nothing in it is executed.

Such files are a pickle of `{"model": {name: array}, ...}`, written by Python 2 or 3. An array is
told by its type and shape and by the bytes in the pickle.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from pipeline.models.shared.stored import StoredTensor, look_through

_DTYPES = {
    "f8": ("float64", 8),
    "f4": ("float32", 4),
    "f2": ("float16", 2),
    "i8": ("int64", 8),
    "i4": ("int32", 4),
    "i2": ("int16", 2),
    "i1": ("int8", 1),
    "u1": ("uint8", 1),
    "b1": ("bool", 1),
}
_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFERS = ("numpy.core.numeric", "numpy._core.numeric")


def read_pickle(data: bytes) -> Any:
    """What was pickled, with a `StoredTensor` for every array.

    Raises:
        pickle.UnpicklingError: it wants something executed, or holds more than arrays and plain
            values.
        Exception: it is cut off or damaged; a pickle can fail in every way there is.
    """
    stream = io.BytesIO(data)
    look_through(stream)
    return _stored(_Unpickler(stream, len(data)).load())


class _DType:
    """Of an array, as the pickle says it."""

    def __init__(self, code: Any, *_: Any) -> None:
        self._code = code

    def __setstate__(self, state: Any) -> None:
        if state[1] == ">":
            raise ValueError("big endian")

    def of(self) -> tuple[str, int]:
        """Name and bytes an element."""
        return _DTYPES[str(self._code).lstrip("<|=")]


class _Array:
    """An array, as the pickle says it: `(version, shape, dtype, fortran, bytes)`."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def stored(self) -> StoredTensor:
        _, shape, dtype, fortran, raw = self.state
        data = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(dtype, _DType) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("no array")
        name, size = dtype.of()
        if math.prod(shape) * size != len(data):
            raise ValueError("another size than its bytes")
        return StoredTensor.whole(name, tuple(shape), memoryview(data), fortran=bool(fortran))


def _stored(value: Any) -> Any:
    """With arrays as they are stored, at the outside and one level down, where state dicts are."""
    if isinstance(value, _Array):
        return value.stored()
    if isinstance(value, dict):
        return {
            key: {k: v.stored() if isinstance(v, _Array) else v for k, v in inner.items()}
            if isinstance(inner, dict)
            else _stored(inner)
            for key, inner in value.items()
        }
    return value


class _Unpickler(pickle.Unpickler):
    """Knows how arrays are made, and no function of anybody else."""

    def __init__(self, stream: io.BytesIO, most: int) -> None:
        super().__init__(stream, encoding="latin1")
        self._room = most

    def find_class(self, module: str, name: str) -> Callable[..., Any] | str:
        # A new function each time: a pickle may change attributes of what it is given.
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module in _ARRAYS and name == "_reconstruct":
            return lambda *_: _Array()
        if module in _ARRAYS and name == "scalar":
            return lambda *_: None
        if module in _BUFFERS and name == "_frombuffer":
            return self._from_buffer
        if (module, name) == ("numpy", "dtype"):
            return lambda *of: _DType(*of)
        if (module, name) == ("numpy", "ndarray"):
            return name
        if (module, name) == ("_codecs", "encode"):
            return lambda text, _: self._encoded(text)
        if (module, name) in (("__builtin__", "bytes"), ("builtins", "bytes")):
            return lambda: b""  # so Python 3 writes no bytes for Python 2
        raise pickle.UnpicklingError(f"{module}.{name}")

    @staticmethod
    def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
        array = _Array()
        array.state = (1, shape, dtype, order == "F", raw)
        return array

    def _encoded(self, text: str) -> bytes:
        """Bytes as Python 3 writes them for Python 2, never more in all than the file has."""
        data = text.encode("latin1")
        self._room -= len(data)
        if self._room < 0:
            raise ValueError("more than is in it")
        return data
