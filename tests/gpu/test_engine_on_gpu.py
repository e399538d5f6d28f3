"""What must hold of the engine on a CUDA device: the checks of `python -m benchmarks.gpu`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmarks.gpu_steps.checks import CHECKS
from benchmarks.gpu_steps.kernel_cases import cases
from benchmarks.gpu_steps.rig import Rig

pytestmark = pytest.mark.gpu


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", CHECKS)
def test_it_holds(cuda: torch.device, name: str) -> None:
    CHECKS[name](Rig(dry=False, seconds=60, found=print))


@pytest.mark.parametrize(
    "check", [pytest.param(check, id=f"{kernel}, {name}") for kernel, name, check in cases()]
)
def test_a_kernel_gives_its_twins_answer(
    cuda: torch.device, check: Callable[[torch.device], None]
) -> None:
    check(cuda)
