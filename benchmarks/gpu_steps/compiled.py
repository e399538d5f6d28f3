"""The GPU kernels compiled for any card, without one: `python -m benchmarks.gpu_steps.compiled`.

The launchers themselves are called with tensors of the sizes they meet, and a stand-in for Triton's
driver names the card, so that what is compiled is what would be launched: types, alignments,
constants and options are Triton's own findings. Nothing runs. Prints registers, spills and the
widths of loads, and exits with 1 where a kernel is not what it should be.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from pipeline.models.mask_rcnn.engine.operators import (
    nms_triton,
    preprocess_triton,
    roi_align_triton,
    runs_triton,
)
from pipeline.models.mask_rcnn.engine.operators.preprocess import InputRules
from pipeline.models.mask_rcnn.engine.operators.roi_align import make_layout

TARGETS = (75, 80, 86, 89, 90, 100, 120)
"""Compute capabilities times ten."""
CPU = torch.device("cpu")

CONTRACTED = re.compile(r"\bfma\.\w+(?:\.\w+)*")
INEXACT = re.compile(r"\b(?:div|sqrt|rcp|rsqrt|lg2|ex2|sin|cos|tanh)\.(?:full|approx)(?:\.\w+)*")
LOOSE = re.compile(r"\b(?:mul|add|sub)\.(?:ftz\.)?f32\b")
"""Products and sums that a later compiler may still contract: those without `.rn`."""
FLUSHED = re.compile(r"\b\w+(?:\.\w+)*\.ftz(?:\.\w+)*")
LOAD = re.compile(r"\bld\.global(?:\.L1::\w+|\.L2::\w+|\.nc|\.ca|\.cg|\.relaxed|\.gpu)*"
                  r"(?:\.v(\d))?\.[bsuf](\d+)")  # fmt: skip


@dataclass(frozen=True)
class Compiled:
    """One kernel for one card."""

    kernel: str
    variant: str
    target: int
    registers: int
    spilled_bytes: int
    loads: dict[int, int]
    """Loads from memory by their width in bytes a thread."""
    inexact: list[str]
    """Instructions that round otherwise than a CPU does."""

    def __str__(self) -> str:
        widths = ", ".join(f"{n} of {bytes_} B" for bytes_, n in sorted(self.loads.items()))
        text = (
            f"{self.kernel} ({self.variant}) for {self.target / 10}: {self.registers} registers, "
            f"{self.spilled_bytes} B spilled, loads {widths}"
        )
        return f"{text}; INEXACT: {', '.join(self.inexact)}" if self.inexact else text


class StandIn:
    """Triton's driver as far as a compiler asks it."""

    def __init__(self, target: int) -> None:
        self.target = target

    def get_current_target(self) -> GPUTarget:
        """The card."""
        return GPUTarget("cuda", self.target, 32)

    def get_current_device(self) -> int:
        """One for each card: Triton keeps what it has compiled by device."""
        return self.target

    def get_current_stream(self, device: int) -> int:
        """The only one."""
        return 0


def launches(dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """Every launch of a pass on pictures of 800×1344, by name; half of the numbers are fp16's."""
    shapes = [(200, 336), (100, 168), (50, 84), (25, 42)]
    rows = sum(h * w for h, w in shapes)
    table, layout = torch.empty(rows, 256, dtype=dtype), make_layout(shapes, 1, CPU)
    boxes, pictures = torch.zeros(8, 4), torch.zeros(8, dtype=torch.int64)
    rules = InputRules(800, 1333, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    picture = np.zeros((1080, 1920, 3), np.uint8)

    def suppress(count: int) -> Tensor:
        groups, scores = torch.zeros(1, count, dtype=torch.int64), torch.zeros(1, count)
        return nms_triton.nms(torch.zeros(1, count, 4), groups, scores, 0.7, 1, count)

    def pool(size: int) -> Tensor:
        return roi_align_triton.roi_align(table, layout, boxes, pictures, size)

    def paste() -> object:
        sizes = torch.tensor([[1080, 1920]] * 8, dtype=torch.int32)
        return runs_triton.paste(torch.zeros(8, 28, 28), boxes, sizes, 1920, 1 << 13)

    return {
        "prepare": lambda: preprocess_triton.prepare([picture], rules, dtype, CPU),
        "1000 boxes": lambda: suppress(1000),
        "16384 boxes": lambda: suppress(16384),  # all candidates above a threshold of 0.1
        "bins 7": lambda: pool(7),
        "bins 14": lambda: pool(14),
        "masks": paste,
    }


@contextmanager
def _compiling_for(target: int, made: list[tuple[str, Any]]) -> Iterator[None]:
    """Launches inside only compile, for a card of that capability, and are noted in `made`."""
    run, active = JITFunction.run, driver._active

    def only_compile(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        for name, value in zip(self.arg_names, args, strict=False):
            if isinstance(value, Tensor) and not value.is_contiguous():
                raise ValueError(f"{self.fn.__name__}: {name} has gaps between its numbers")
        name = self.fn.__name__.lstrip("_")
        try:
            made.append((name, run(self, *args, grid=grid, warmup=True, **options)))
        except Exception as error:
            where = f"{name} does not compile for capability {target / 10}"
            raise RuntimeError(f"{where}: {type(error).__name__}: {error}") from error
        return made[-1][1]

    JITFunction.run = only_compile
    driver.set_active(StandIn(target))
    try:
        yield
    finally:
        JITFunction.run = run
        driver._active = active


def compile_for(
    target: int, dtype: torch.dtype = torch.float16, only: str | None = None
) -> list[Compiled]:
    """Every kernel as it would be launched on a card.

    Args:
        target: compute capability times ten.
        dtype: of the dense part.
        only: one of `launches()`; None: all.

    Raises:
        RuntimeError: a kernel does not compile; names it and the card.
    """
    found = []
    for variant, launch in launches(dtype).items():
        if only not in (None, variant):
            continue
        made: list[tuple[str, Any]] = []
        with _compiling_for(target, made):
            launch()
        found += [_facts(name, variant, target, kernel) for name, kernel in made]
    return found


def _facts(name: str, variant: str, target: int, kernel: Any) -> Compiled:
    ptx = kernel.asm["ptx"]
    registers, spilled = _resources(kernel.asm["cubin"])
    inexact = [
        instruction
        for pattern in (CONTRACTED, INEXACT, LOOSE, FLUSHED)
        for instruction in pattern.findall(ptx)
    ]
    if kernel.metadata.enable_fp_fusion:
        inexact.append("launched with enable_fp_fusion")
    loads = Counter(int(many or 1) * int(bits) // 8 for many, bits in LOAD.findall(ptx))
    return Compiled(name, variant, target, registers, spilled, dict(loads), inexact)


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers a thread, and bytes of it that went to memory, as the binary says."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (registers,), (stack,) = re.findall(r"REG:(\d+)", said), re.findall(r"STACK:(\d+)", said)
    return int(registers), int(stack) + sum(map(int, re.findall(r"LOCAL:(\d+)", said)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=int, nargs="+", default=list(TARGETS))
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    arguments = parser.parse_args()
    wrong = 0
    for target in arguments.target:
        for compiled in compile_for(target, getattr(torch, arguments.dtype)):
            print(compiled, flush=True)
            wrong += bool(compiled.inexact or compiled.spilled_bytes)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
