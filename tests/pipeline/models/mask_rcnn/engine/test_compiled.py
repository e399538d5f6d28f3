"""The GPU kernels compiled ahead for every card: exact arithmetic, no spills, wide loads.

Compiled once and kept in Triton's cache: a kernel that did not change costs nothing.
"""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks.gpu_steps import compiled, planting
from benchmarks.gpu_steps.compiled import TARGETS, Compiled, compile_for
from pipeline.models.mask_rcnn.engine.operators import (
    nms_triton,
    roi_align_triton,
    runs_triton,
)

EVERY_KERNEL = [
    pytest.param(module, kernel, id=kernel.lstrip("_"))
    for module in planting.modules()
    for kernel in planting.kernels(module)
]

LOADS = {
    "prepare": {1, 4, 8},
    "overlaps": {1, 4, 8},
    "survivors": {4},
    "survivors (16384 boxes)": {4, 16},
    "roi_align": {4, 8, 16},
    "columns": {4},
}
"""Widths in bytes a thread."""
ONLY_COUNTING = ("_survivors",)
"""Kernels with no arithmetic in floating point."""


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("target", TARGETS)
def test_every_kernel_is_exact_and_keeps_to_its_registers(target: int) -> None:
    kernels = compile_for(target)

    assert {kernel.kernel for kernel in kernels} == {case.id for case in EVERY_KERNEL}
    for kernel in kernels:
        assert kernel.inexact == [], str(kernel)
        assert kernel.spilled_bytes == 0, str(kernel)
        assert kernel.registers <= 168, str(kernel)
        named = f"{kernel.kernel} ({kernel.variant})"
        assert set(kernel.loads) == LOADS.get(named, LOADS[kernel.kernel]), str(kernel)
        if kernel.kernel == "roi_align":
            assert kernel.loads[16] == 16, str(kernel)  # one a tap: 8 channels of fp16


def test_float32_is_exact_too() -> None:
    assert [str(kernel) for kernel in compile_for(90, torch.float32) if kernel.inexact] == []


def test_no_kernel_is_left_out() -> None:
    """One that is written tomorrow has to be launched here, and stand in `LOADS`."""
    assert {case.id for case in EVERY_KERNEL} == {name.partition(" ")[0] for name in LOADS}


def of_kernel(name: str, only: str | None = None) -> list[Compiled]:
    return [found for found in compile_for(90, only=only) if f"_{found.kernel}" == name]


@pytest.mark.parametrize(("module", "kernel"), EVERY_KERNEL)
def test_arithmetic_that_rounds_otherwise_is_named_in_every_kernel(
    tmp_path: Path, module: ModuleType, kernel: str
) -> None:
    """Contraction, division and root, planted together: each has an instruction of its own."""
    exact = of_kernel(kernel)
    assert [found.inexact for found in exact] == [[]] * len(exact)

    def loose(tree: ast.Module) -> None:
        planting.fused(kernel)(tree)
        planting.loosely_divided(tree)
        planting.stores(kernel, "tl.sqrt(x.to(tl.float32)).to(x.dtype)")(tree)

    with planting.planted(compiled, module, loose, tmp_path):
        loosely = of_kernel(kernel, only=exact[0].variant)
    said = [sign for found in loosely for sign in found.inexact]

    assert "launched with enable_fp_fusion" in said
    assert any(sign.startswith("sqrt.approx") for sign in said)
    if kernel not in ONLY_COUNTING:
        assert any(sign.startswith("fma.rn") for sign in said)
        assert "div.full.f32" in said


@pytest.mark.parametrize(
    ("module", "old", "new", "kernel", "sign"),
    [
        pytest.param(roi_align_triton, "    level = 0\n",
                     "    level = (tl.log2(area) > 30.0).to(tl.int32)\n",
                     "_roi_align", "fma.rn.ftz.f32", id="logarithm"),
        pytest.param(runs_triton, "at = tl.maximum(once, 0.0)",
                     "at = tl.maximum(tl.fma(scale, centre, -0.5), 0.0)",
                     "_columns", "fma.rn.f32", id="contracted on purpose"),
    ],
)  # fmt: skip
def test_arithmetic_nobody_thought_of_is_named_too(
    tmp_path: Path, module: ModuleType, old: str, new: str, kernel: str, sign: str
) -> None:
    variant = of_kernel(kernel)[0].variant
    with planting.planted(compiled, module, (old, new), tmp_path):
        said = of_kernel(kernel, only=variant)

    assert any(sign in found.inexact for found in said), said


@pytest.mark.parametrize(("module", "kernel"), EVERY_KERNEL)
def test_a_kernel_that_does_not_compile_names_itself_and_the_card(
    tmp_path: Path, module: ModuleType, kernel: str
) -> None:
    """An instruction of later cards: only the assembler refuses it, and only for this one."""
    words = '"cvt.rn.bf16x2.f32 $0, $1, $1;", "=r,f", [x.to(tl.float32)]'
    newer = f"tl.inline_asm_elementwise({words}, dtype=tl.int32, is_pure=True, pack=1).to(x.dtype)"
    of_later_cards = planting.stores(kernel, newer)

    with (
        planting.planted(compiled, module, of_later_cards, tmp_path),
        pytest.raises(RuntimeError, match=rf"^{kernel[1:]} does not compile for capability 7\.5: "),
    ):
        compile_for(75)


def test_a_name_of_two_types_by_branch_does_not_compile(tmp_path: Path) -> None:
    """The interpreter takes it."""
    fault = ("far_shared, far_either", "shared, either")

    with (
        planting.planted(compiled, nms_triton, fault, tmp_path),
        pytest.raises(RuntimeError, match=r"overlaps does not compile for capability 7\.5"),
    ):
        compile_for(75, only="1000 boxes")


def test_a_tensor_with_gaps_is_refused(tmp_path: Path) -> None:
    fault = ("pictures.contiguous()", "pictures[:1].expand(len(pictures))")

    with (
        planting.planted(compiled, roi_align_triton, fault, tmp_path),
        pytest.raises(ValueError, match="_roi_align: pictures has gaps between its numbers"),
    ):
        compile_for(90, only="bins 7")
