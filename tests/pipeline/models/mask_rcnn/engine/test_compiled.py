"""The GPU kernels compiled ahead for every card: exact arithmetic, no spills, wide loads.

Compiled once and kept in Triton's cache: a kernel that did not change costs nothing.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks.gpu_steps import compiled
from benchmarks.gpu_steps.compiled import TARGETS, compile_for
from pipeline.models.mask_rcnn.engine.operators import (
    nms_triton,
    preprocess_triton,
    roi_align_triton,
    runs_triton,
)

LOADS = {
    "prepare": {1, 4, 8},
    "overlaps": {1, 4, 8},
    "survivors": {4},
    "roi_align": {4, 8, 16},
    "columns": {4},
}
"""Widths in bytes a thread."""


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("target", TARGETS)
def test_every_kernel_is_exact_and_keeps_to_its_registers(target: int) -> None:
    kernels = compile_for(target)

    assert {kernel.kernel for kernel in kernels} == set(LOADS)
    for kernel in kernels:
        assert kernel.inexact == [], str(kernel)
        assert kernel.spilled_bytes == 0, str(kernel)
        assert kernel.registers <= 168, str(kernel)
        assert set(kernel.loads) == LOADS[kernel.kernel], str(kernel)
        if kernel.kernel == "roi_align":
            assert kernel.loads[16] == 16, str(kernel)  # one a tap: 8 channels of fp16


def test_float32_is_exact_too() -> None:
    assert [str(kernel) for kernel in compile_for(90, torch.float32) if kernel.inexact] == []


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`planted(module, old, new)`: kernels are compiled from a copy with a fault in it."""

    def plant(module: ModuleType, old: str, new: str) -> None:
        source = inspect.getsource(module)
        assert old in source, "the place of the fault has gone"
        name = module.__name__.rpartition(".")[2]
        file = tmp_path / f"{name}.py"
        file.write_text(source.replace(old, new))
        spec = importlib.util.spec_from_file_location(f"planted_{name}", file)
        assert spec is not None
        assert spec.loader is not None
        copy = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(copy)
        monkeypatch.setattr(compiled, name, copy)

    return plant


@pytest.mark.parametrize(
    ("module", "launch", "old", "new", "kernel", "sign"),
    [
        pytest.param(nms_triton, "1000 boxes", "tl.div_rn(shared, either)", "(shared / either)",
                     "overlaps", "div.full.f32", id="nms-division"),
        pytest.param(nms_triton, "1000 boxes", "enable_fp_fusion=False", "num_stages=3",
                     "overlaps", "fma.rn.f32", id="nms-contraction"),
        pytest.param(roi_align_triton, "bins 7", "enable_fp_fusion=False", "num_stages=3",
                     "roi_align", "fma.rn.f32", id="roi-align-contraction"),
        pytest.param(roi_align_triton, "bins 7", "    level = 0\n",
                     "    level = (tl.log2(area) > 30.0).to(tl.int32)\n",
                     "roi_align", "fma.rn.ftz.f32", id="roi-align-logarithm"),
        pytest.param(preprocess_triton, "prepare", "tl.div_rn(given.to(tl.float32), ",
                     "tl.fdiv(given.to(tl.float32), ", "prepare", "div.full.f32",
                     id="prepare-division"),
        pytest.param(runs_triton, "masks", "enable_fp_fusion=False", "num_stages=3",
                     "columns", "fma.rn.f64", id="columns-contraction"),
        pytest.param(runs_triton, "masks", "at = tl.maximum(once, 0.0)",
                     "at = tl.maximum(tl.fma(scale, centre, -0.5), 0.0)",
                     "columns", "fma.rn.f32", id="columns-explicit"),
    ],
)  # fmt: skip
def test_arithmetic_that_rounds_otherwise_is_named(
    planted: Callable[..., None], module: ModuleType, launch: str, old: str, new: str, kernel: str,
    sign: str,
) -> None:  # fmt: skip
    planted(module, old, new)

    said = {found.kernel: found.inexact for found in compile_for(90, only=launch)}

    assert any(instruction.startswith(sign) for instruction in said[kernel]), said


def test_a_kernel_that_does_not_compile_names_itself_and_the_card(
    planted: Callable[..., None],
) -> None:
    """The interpreter takes it: a name of two types, by branch."""
    planted(nms_triton, "far_shared, far_either", "shared, either")

    with pytest.raises(RuntimeError, match=r"1000 boxes does not compile for capability 7\.5"):
        compile_for(75, only="1000 boxes")


def test_a_tensor_with_gaps_is_refused(planted: Callable[..., None]) -> None:
    planted(roi_align_triton, "pictures.contiguous()", "pictures[:1].expand(len(pictures))")

    with pytest.raises(RuntimeError, match="_roi_align: pictures has gaps between its numbers"):
        compile_for(90, only="bins 7")
