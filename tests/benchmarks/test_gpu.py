"""`python -m benchmarks.gpu` without a GPU: every step, and what happens when one fails.

Triton decides when it is imported whether kernels are interpreted, so these run in processes of
their own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu_steps.report import Report, StepResult
from benchmarks.machine import machine

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("ray", "pydantic", "typer", "rich", "yaml", "prometheus_client", "pytest", "hypothesis")
"""Installed here, but not where a GPU is."""
UNTOUCHED = """
import torch
command, count = os.getpid(), torch._C._cuda_getDeviceCount
def counted():
    assert os.getpid() != command, "a step's process cannot use CUDA that its parent has begun"
    return count()
torch._C._cuda_getDeviceCount = torch._C._cuda_init = counted
"""


NVIDIA_SMI = """#!/bin/sh
case "$*" in
*driver_version*) echo '580.159, 10 MiB, 143771 MiB, 0 %, 345 MHz';;
*) echo 37; echo 41; exec sleep 60;;
esac
"""


def dry_run(out: Path, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """The command as on a bare machine; `before` is run after the imports it names itself."""
    smi = out / "bin/nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(NVIDIA_SMI)
    smi.chmod(0o755)
    program = f"""
import os, sys
os.environ["TRITON_INTERPRET"] = "1"
sys.modules.update(dict.fromkeys({ABSENT!r}))
{before}
from benchmarks.gpu import main
sys.exit(main(["--dry-run", "--budget", "900", "--out", {str(out)!r}, *{arguments!r}]))
"""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PATH": f"{smi.parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_opencv_is_told_by_whichever_wheel_brought_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "benchmarks.machine.packages_distributions", lambda: {"cv2": ["opencv-python-headless"]}
    )
    monkeypatch.setattr("benchmarks.machine.version", lambda wheel: f"of {wheel}")

    assert "; opencv-python-headless of opencv-python-headless; commit" in machine("cv2")


def test_what_is_printed_is_ready_to_paste(tmp_path: Path) -> None:
    machine_of = {"card": "NVIDIA H200", "driver": "580.159", "a | b": 2.34567, "c": "one\ntwo"}
    done = StepResult("the machine", "done", found=machine_of, seconds=2.6)
    ended = StepResult("kernels", "ended", "its budget of 50 s was over", 50.1)
    report = Report(tmp_path, "torch 2.11.0; commit 123", {"a": done, "b": ended})

    assert report.section().splitlines() == [
        "### NVIDIA H200, driver 580.159",
        "",
        "torch 2.11.0; commit 123",
        "",
        "| step | what | figure |",
        "|---|---|---|",
        "| a | **the machine** | done, 3 s |",
        "| | card | NVIDIA H200 |",
        "| | driver | 580.159 |",
        "| | a / b | 2.346 |",
        "| | c | one two |",
        "| b | **kernels** | ended: its budget of 50 s was over, 50 s |",
    ]


def test_the_page_on_performance_has_the_steps_and_says_what_has_run() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    section = page.partition("\n## On a GPU\n")[2].partition("\n## ")[0]

    assert re.findall(r"^\| ([a-z]) \| [a-z]", section, re.MULTILINE) == list(gpu.STEPS)
    nothing = "**Nothing here has run on one yet.**" in section
    assert nothing == (not re.findall(r"^### NVIDIA .*, driver \d", section, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_step_runs_on_a_cpu_with_nothing_but_the_wheels_it_names(tmp_path: Path) -> None:
    done = dry_run(tmp_path, before=UNTOUCHED)

    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "gpu.json").read_text())
    assert {letter: step["state"] for letter, step in told["steps"].items()} == dict.fromkeys(
        "abcdefg", "done"
    )
    found = {letter: step["found"] for letter, step in told["steps"].items()}
    assert found["a"]["driver"] == "580.159"
    assert found["a"]["before anything ran"] == "10 MiB, 143771 MiB, 0 %, 345 MHz"
    assert found["f"]["Y and UV as the host's"] == "6 of 6 frames"
    assert found["g"]["GPU at work"] == "39 %"
    assert (tmp_path / "gpu.md").read_text() in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_fault_fails_the_dry_run_and_names_the_step(tmp_path: Path) -> None:
    """The faults are in `planted_faults.py`."""
    file = Path(__file__).with_name("planted_faults.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=190,
    )

    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"^\d+ passed in ", done.stdout, re.MULTILINE), done.stdout[-300:]


def test_without_triton_the_kernels_fail_and_the_rest_goes_on(tmp_path: Path) -> None:
    done = dry_run(tmp_path, "--only", "b", "f", before="sys.modules['triton'] = None")

    assert done.returncode == 1
    steps = json.loads((tmp_path / "gpu.json").read_text())["steps"]
    assert steps["b"]["state"] == "failed"
    assert steps["b"]["why"].startswith("ModuleNotFoundError: import of triton")
    assert steps["f"]["state"] == "done"
