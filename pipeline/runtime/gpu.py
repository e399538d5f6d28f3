"""How busy the GPU of this process is, and how full, as NVIDIA's management library (NVML) says."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from pipeline.clock import Clock
from pipeline.metrics.counts import GpuUse
from pipeline.models.shared.cards import LIBRARY, NvmlError, ask, memory_of

LOOK_EVERY_S = 1.0
"""NVML itself measures no more often."""


class _Shares(ctypes.Structure):
    """Per cent of the last moments in which kernels ran, and in which memory was touched."""

    _fields_ = [(name, ctypes.c_uint) for name in ("gpu", "memory")]


class GpuGauge:
    """Asked as often as anybody likes, it looks once a second; from any thread.

    Args:
        uuid: of the GPU this process is on; None: on none, or none yet.
        library: NVML, for tests.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        uuid: Callable[[], str | None],
        *,
        library: Any = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._uuid = uuid
        self._nvml = library
        self._clock = clock
        self._lock = threading.Lock()
        self._handle: ctypes.c_void_p | None = None
        self._again_at_s = clock()
        self._seen: GpuUse | None = None

    def __call__(self) -> GpuUse | None:
        """Of the last second; None: there is no GPU, or nobody knows how it is."""
        with self._lock:
            if self._clock() >= self._again_at_s:
                self._again_at_s = self._clock() + LOOK_EVERY_S
                self._seen = None
                with suppress(OSError, AttributeError, NvmlError):
                    self._seen = self._look()
            return self._seen

    def _look(self) -> GpuUse | None:
        if self._handle is None and (uuid := self._uuid()) is not None:
            self._handle = self._opened(uuid)
        if self._handle is None:
            return None
        shares = _Shares()
        ask(self._nvml.nvmlDeviceGetUtilizationRates, self._handle, ctypes.byref(shares))
        memory = memory_of(self._nvml, self._handle)
        return GpuUse(shares.gpu / 100, memory.used, memory.total)

    def _opened(self, uuid: str) -> ctypes.c_void_p:
        """NVML stays open as long as the process lives: it says nothing once it was closed."""
        if self._nvml is None:
            self._nvml = ctypes.CDLL(LIBRARY)
        handle = ctypes.c_void_p()
        ask(self._nvml.nvmlInit_v2)
        ask(self._nvml.nvmlDeviceGetHandleByUUID, uuid.encode(), ctypes.byref(handle))
        return handle


def uuid_of(device: str) -> str | None:
    """The GPU that `cuda` or `cuda:N` is in this process; None while torch is not on it.

    Torch is asked where it is loaded, and not loaded for this: CUDA counts devices in an order of
    its own, so only who uses one knows which it is.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None or device == "cpu" or not torch.cuda.is_initialized():
        return None
    number = device.partition(":")[2]
    index = int(number) if number else torch.cuda.current_device()
    uuid = str(getattr(torch.cuda.get_device_properties(index), "uuid", ""))
    return f"GPU-{uuid.removeprefix('GPU-')}" if uuid else None


def gauge(device: str) -> GpuGauge:
    """Of the device of a model, as its plan calls it."""
    return GpuGauge(partial(uuid_of, device))
