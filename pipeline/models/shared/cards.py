"""The GPUs of this machine, as NVIDIA's management library (NVML) knows them: without torch.

For what is said before anything is loaded; a run itself asks the device it is on.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
_NAME_BYTES = 96


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU."""

    name: str
    total_bytes: int
    free_bytes: int


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class NvmlError(Exception):
    """NVML answered with an error."""


def cards(visible: str | None = None, *, library: Any = None) -> list[Card]:
    """The GPUs a run may use; none where that is not known.

    Args:
        visible: `CUDA_VISIBLE_DEVICES`; by numbers it is understood where all cards are alike,
            because CUDA counts them in an order of its own.
        library: NVML, for tests.
    """
    with suppress(OSError, AttributeError, NvmlError):
        nvml = library or ctypes.CDLL(LIBRARY)
        ask(nvml.nvmlInit_v2)
        try:
            return _seen(_all(nvml), visible)
        finally:
            nvml.nvmlShutdown()
    return []


def _seen(found: list[Card], visible: str | None) -> list[Card]:
    if visible is None:
        return found
    numbers = [word.strip() for word in visible.split(",")]
    alike = len({(card.name, card.total_bytes) for card in found}) == 1
    if not alike or not all(n.isdecimal() and int(n) < len(found) for n in numbers):
        return []
    return [found[int(number)] for number in numbers]


def _all(nvml: Any) -> list[Card]:
    count = ctypes.c_uint()
    ask(nvml.nvmlDeviceGetCount_v2, ctypes.byref(count))
    return [_card(nvml, number) for number in range(count.value)]


def _card(nvml: Any, number: int) -> Card:
    handle = ctypes.c_void_p()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    ask(nvml.nvmlDeviceGetHandleByIndex_v2, ctypes.c_uint(number), ctypes.byref(handle))
    ask(nvml.nvmlDeviceGetName, handle, name, ctypes.c_uint(_NAME_BYTES))
    memory = memory_of(nvml, handle)
    return Card(name.value.decode(errors="replace"), memory.total, memory.free)


def memory_of(nvml: Any, handle: ctypes.c_void_p) -> Any:
    """Bytes of a GPU: `total`, `free` and `used`, by whomever.

    Raises:
        NvmlError: it does not say.
    """
    memory = _Memory()
    ask(nvml.nvmlDeviceGetMemoryInfo, handle, ctypes.byref(memory))
    return memory


def ask(question: Any, *args: Any) -> None:
    """Call a function of the library.

    Raises:
        NvmlError: it did not answer 0.
    """
    if question(*args) != 0:
        raise NvmlError
