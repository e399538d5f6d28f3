"""How busy a GPU is and how full, against a stand-in for NVIDIA's management library."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.metrics.counts import GpuUse
from pipeline.runtime.gpu import GpuGauge, uuid_of
from pipeline.testing import ManualClock

UUID = "GPU-5f2a"
USE = GpuUse(0.37, 20_000_000_000, 24_000_000_000)


class Nvml:
    """Knows one GPU by its UUID; 0 where all is well, as the library."""

    def __init__(self, *, fails: str = "") -> None:
        self.fails = fails
        self.share = 37
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def ask(*args: Any) -> int:
            self.asked.append(name)
            return 999 if name == self.fails else getattr(self, f"_{name}")(*args)

        return ask

    def _nvmlInit_v2(self) -> int:
        return 0

    def _nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        handle._obj.value = 7
        return 0 if uuid == UUID.encode() else 6

    def _nvmlDeviceGetUtilizationRates(self, handle: Any, shares: Any) -> int:
        shares._obj.gpu, shares._obj.memory = self.share, 90
        return 0 if handle.value == 7 else 2

    def _nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:
        memory._obj.total, memory._obj.used = USE.total_bytes, USE.used_bytes
        return 0 if handle.value == 7 else 2


def test_it_looks_once_a_second_however_often_it_is_asked() -> None:
    nvml, clock = Nvml(), ManualClock()
    gauge = GpuGauge(lambda: UUID, library=nvml, clock=clock)
    assert [gauge(), gauge()] == [USE, USE]
    nvml.share = 90
    clock.advance(0.5)
    assert gauge() == USE
    clock.advance(0.5)
    assert gauge() == GpuUse(0.9, USE.used_bytes, USE.total_bytes)
    assert nvml.asked.count("nvmlInit_v2") == 1
    assert nvml.asked.count("nvmlDeviceGetUtilizationRates") == 2


def test_a_process_that_is_on_no_gpu_yet_is_asked_again() -> None:
    uuids, clock, nvml = iter([None, UUID]), ManualClock(), Nvml()
    gauge = GpuGauge(lambda: next(uuids), library=nvml, clock=clock)
    assert (gauge(), nvml.asked) == (None, [])
    clock.advance(1.0)
    assert gauge() == USE


@pytest.mark.parametrize(
    "fails",
    [
        "nvmlInit_v2",
        "nvmlDeviceGetHandleByUUID",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetMemoryInfo",
    ],
)
def test_where_the_library_does_not_say_nothing_is_said(fails: str) -> None:
    assert GpuGauge(lambda: UUID, library=Nvml(fails=fails), clock=ManualClock())() is None
    assert GpuGauge(lambda: "GPU-of-nobody", library=Nvml(), clock=ManualClock())() is None
    assert GpuGauge(lambda: UUID, library=object(), clock=ManualClock())() is None


def test_torch_says_which_gpu_a_process_is_on_once_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    on = {"initialized": False}
    cuda = SimpleNamespace(
        is_initialized=lambda: on["initialized"],
        current_device=lambda: 0,
        get_device_properties=lambda index: SimpleNamespace(uuid=f"5f2{'ab'[index]}"),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]
    assert uuid_of("cuda") is None
    on["initialized"] = True
    assert [uuid_of(device) for device in ("auto", "cuda", "cuda:1", "cpu")] == [
        *(UUID, UUID),
        *("GPU-5f2b", None),
    ]
    monkeypatch.delitem(sys.modules, "torch")
    assert uuid_of("cuda") is None
