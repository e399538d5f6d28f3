"""Step a: card, driver, versions, and the ceilings every other figure is measured against."""

from __future__ import annotations

import subprocess

import torch

from benchmarks.gpu_steps.rig import Rig

WRITTEN_FOR = "2.11"
"""The torch of the machine this was written for."""


def run(rig: Rig) -> None:
    """Describe the machine and measure its ceilings."""
    _card(rig)
    rig.found("torch", f"{torch.__version__}, CUDA {torch.version.cuda}")
    if not torch.__version__.startswith(WRITTEN_FOR):
        rig.found("another torch", f"written for {WRITTEN_FOR}; figures hold for this one")
    rig.found("copy, GB/s read and written", rig.bandwidth() / 1e9)
    for name in rig.size(("float16", "bfloat16", "float32"), ("float32",)):
        side = rig.size(8192, 64)
        a = torch.randn(side, side, device=rig.device).to(getattr(torch, name))
        seconds = rig.seconds_of(lambda: a @ a)  # noqa: B023 - called here
        rig.found(f"matrix product in {name}, TFLOP/s", 2 * side**3 / seconds / 1e12)


def _card(rig: Rig) -> None:
    if not rig.dry and not torch.cuda.is_available():
        raise RuntimeError("no usable CUDA device: see nvidia-smi for the driver")
    if not rig.dry:
        card = torch.cuda.get_device_properties(0)
        rig.found("card", card.name)
        units = card.multi_processor_count
        rig.found("compute capability", f"{card.major}.{card.minor}, {units} SM")
    driver, *rest = _told_by_nvidia_smi()
    rig.found("driver", driver)
    rig.found("before anything ran", ", ".join(rest))
    free, total = rig.memory()
    rig.found("memory, GiB free of all", f"{free / 2**30:.1f} of {total / 2**30:.1f}")
    if free < 0.8 * total:
        rig.found("busy", "others hold memory: figures are too low")


def _told_by_nvidia_smi() -> list[str]:
    """Driver, memory and clocks of the first card."""
    asked = "driver_version,memory.used,memory.total,utilization.gpu,clocks.sm"
    command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
        return [part.strip() for part in said.splitlines()[0].split(",")]
    except (OSError, IndexError, subprocess.SubprocessError):
        return ["unknown", "nvidia-smi says nothing"]
