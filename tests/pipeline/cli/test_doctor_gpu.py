"""What `doctor` says of a GPU: a driver too old for torch, and how many pictures fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli import doctor

NVIDIA = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Tue\nGCC version: 12\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build\n"


@pytest.mark.parametrize("text", [NVIDIA, OPEN], ids=["closed", "open"])
def test_the_driver_is_read_from_the_kernel(tmp_path: Path, text: str) -> None:
    file = tmp_path / "version"
    file.write_text(text.format("570.86.10"))

    assert doctor._driver(file) == 570
    assert doctor._driver(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("driver", "cuda", "said"),
    [
        (570, "13.0", "the driver is of series 570, torch for CUDA 13.0 wants 580 or later: "
                      "update the driver, or install torch's build cu128"),
        (470, "12.8", "the driver is of series 470, torch for CUDA 12.8 wants 525 or later: "
                      "update the driver"),
        (580, "13.0", "a GPU is there but torch cannot use it; check the driver with nvidia-smi"),
        (None, "13.0", "a GPU is there but torch cannot use it; check the driver with nvidia-smi"),
        (580, None, "torch is built without CUDA: install one of its CUDA builds"),
    ],
)  # fmt: skip
def test_a_driver_too_old_for_torch_is_named_with_the_build_that_fits(
    driver: int | None, cuda: str | None, said: str
) -> None:
    assert doctor._unusable(driver, cuda) == said


def test_a_gpu_that_takes_no_picture_is_a_problem() -> None:
    assert doctor._fits(24_000_000_000).problem is None
    assert doctor._fits(24_000_000_000).value.startswith("batches of 39 pictures of 800x1344")
    assert doctor._fits(800_000_000).problem == (
        "free the GPU, or use a smaller model or smaller pictures"
    )


def test_what_the_kernels_need_the_first_time_is_looked_for(tmp_path: Path) -> None:
    header = tmp_path / "Python.h"
    slow = "without it plain torch does their work, which is several times slower"

    assert doctor._kernels(None, header).problem == f"install gcc: {slow}"
    assert doctor._kernels("gcc", header).problem == f"install python3-dev: {slow}"
    header.touch()
    assert doctor._kernels("gcc", header).problem is None
