"""Faults of every kind, planted one at a time: the dry run fails and names the step and the place.

`test_gpu.py` runs this file in a process of its own, where kernels are interpreted.
"""

from __future__ import annotations

import ast
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_steps import (
    b_kernels,
    checks,
    d_speed,
    e_checks,
    g_worker,
    kernel_cases,
    planting,
)
from benchmarks.gpu_steps.rig import Rig
from pipeline.models.mask_rcnn.engine import graphs, lanes
from pipeline.models.mask_rcnn.engine.operators import (
    nms_triton,
    preprocess_triton,
    roi_align_triton,
    runs_triton,
)

pytestmark = pytest.mark.timeout(120)

EVERY_KERNEL = [
    pytest.param(module, kernel, id=kernel.lstrip("_"))
    for module in planting.modules()
    for kernel in planting.kernels(module)
]


@pytest.fixture(autouse=True)
def versions_are_told_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "machine", lambda *packages: "this machine")


def run(out: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    code = gpu.main(["--dry-run", "--out", str(out), *arguments])
    return code, json.loads((out / "gpu.json").read_text())["steps"]


def cases_of(module: ModuleType) -> list[tuple[str, str, kernel_cases.Case]]:
    """Those that try what the module puts in place of a twin."""
    own = {name for name, thing in vars(module).items()
           if getattr(thing, "__module__", None) == module.__name__}  # fmt: skip
    return [case for case in kernel_cases.cases() if case[0] in own]


def tried(
    monkeypatch: pytest.MonkeyPatch, out: Path, case: tuple[str, str, kernel_cases.Case]
) -> tuple[int, dict[str, Any]]:
    """Step b on one case."""
    monkeypatch.setattr(b_kernels, "cases", lambda: [case])
    monkeypatch.setattr(b_kernels, "timed", lambda rig: [])
    code, steps = run(out, "--only", "b")
    return code, steps["b"]


@pytest.mark.parametrize(("module", "kernel"), EVERY_KERNEL)
def test_a_wrong_number_in_any_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: ModuleType, kernel: str
) -> None:
    """Of the first of its programs."""
    *_, case = cases_of(module)
    with np.errstate(invalid="ignore"):  # boxes without area
        case[2](torch.device("cpu"))  # without the fault it passes
    wrong = planting.stores(kernel, "tl.where(tl.program_id(0) == 0, x + 1, x)")

    with planting.planted(kernel_cases, module, wrong, tmp_path):
        code, step = tried(monkeypatch, tmp_path, case)

    assert (code, step["state"]) == (1, "failed")
    assert f"{case[0]} ({case[1]}): " in step["why"]


@pytest.mark.parametrize(
    ("module", "name", "old", "new"),
    [
        pytest.param(nms_triton, "ties at the limit, 0.5", "> limit", ">= limit", id="overlaps"),
        pytest.param(nms_triton, "one group, 0.5", "(own >> (i % 32))", "(own >> (i % 31))",
                     id="survivors"),
        pytest.param(roi_align_triton, "levels, taps and weights", "0.25 + 0.5 * (tap % 2)",
                     "0.25 + 0.5 * 0", id="roi-align-tap"),
        pytest.param(roi_align_triton, "levels, taps and weights", "(area >= tl", "(area > tl",
                     id="roi-align-level"),
        pytest.param(preprocess_triton, "in fp16", "from_blue = 2 - channel",
                     "from_blue = channel", id="prepare"),
        pytest.param(runs_triton, "inside", "(y <= last)", "(y < last)", id="columns"),
        pytest.param(runs_triton, "at one half, narrow and high", "_exact(a, b, c, d, 1",
                     "_exact(a, c, b, d, 1", id="columns-at-one-half"),
    ],
)  # fmt: skip
def test_a_fault_that_only_shows_where_two_numbers_meet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    module: ModuleType, name: str, old: str, new: str,
) -> None:  # fmt: skip
    (case,) = (one for one in cases_of(module) if one[1] == name)

    with planting.planted(kernel_cases, module, (old, new), tmp_path):
        code, step = tried(monkeypatch, tmp_path, case)

    assert (code, step["state"]) == (1, "failed")
    assert f"{case[0]} ({case[1]}): " in step["why"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("own.copy_(given)", "own.clone()", "a replay gave [3.0, 3.0", id="no-input"),
        pytest.param("recorded.replay()", "recorded.call", "a replay gave [nan, nan",
                     id="no-replay"),
        pytest.param("self._made[key] = ", "_ = ", "KeyError at ", id="not-kept"),
    ],
)  # fmt: skip
def test_a_fault_in_the_graphs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str, said: str
) -> None:
    copy = planting.copy_of(graphs, (old, new), tmp_path)
    monkeypatch.setattr(lanes, "Graphs", copy.Graphs)

    code, steps = run(tmp_path, "--only", "b")

    assert code == 1
    assert said in steps["b"]["why"]


def test_a_fault_in_the_way_to_the_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bytes are read before they arrived."""
    copy = planting.copy_of(lanes, ("        self._arrived()\n", ""), tmp_path)
    monkeypatch.setattr(lanes, "Fetch", copy.Fetch)
    one = checks.a_pass_waits_only_for_what_it_fetched
    monkeypatch.setattr(e_checks, "CHECKS", {one.__name__: one})

    code, steps = run(tmp_path, "--only", "e")

    assert code == 1
    assert steps["e"]["why"].endswith(f"{one.__name__}: nothing found")


@pytest.mark.parametrize("letter", gpu.STEPS)
def test_a_fault_in_a_steps_script(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, letter: str
) -> None:
    """A name that does not exist, behind the first statement."""
    module = import_module(f"benchmarks.gpu_steps.{gpu.STEPS[letter].module}")

    def misspelt(tree: ast.Module) -> None:
        (run,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "run")
        run.body.insert(2, ast.parse("rigg.found('x', 1)").body[0])  # behind the docstring

    monkeypatch.setattr(module, "run", planting.copy_of(module, misspelt, tmp_path).run)

    code, steps = run(tmp_path, "--only", letter)

    assert code == 1
    assert steps[letter]["state"] == "failed"
    assert steps[letter]["why"].startswith(f"NameError at {gpu.STEPS[letter].module}.py:")


def raises(rig: Rig) -> None:
    raise KeyError("batch")


def leaves(rig: Rig) -> None:
    os._exit(3)


def reads_what_is_not_there(rig: Rig) -> None:
    ctypes.string_at(0)


def eats_memory(rig: Rig) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 33, 1 << 33))
    rig.found("first to go where memory runs out", Path("/proc/self/oom_score_adj").read_text())
    eaten = []
    while True:
        eaten.append(torch.empty(1 << 32, dtype=torch.uint8))  # never touched: it costs nothing


def loses_the_device(rig: Rig) -> None:
    raise torch.AcceleratorError("CUDA error: unspecified launch failure\nmore")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (raises, "KeyError at planted_faults.py:"),
        (leaves, "its process ended with 3"),
        (reads_what_is_not_there, "its process was ended by SIGSEGV"),
        (eats_memory, "RuntimeError at planted_faults.py:"),
        (loses_the_device, "AcceleratorError at planted_faults.py:"),
    ],
)
def test_a_step_that_fails_leaves_what_it_found_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: Callable[[Rig], None], said: str
) -> None:
    def step(rig: Rig) -> None:
        rig.found("before", 1)
        broken(rig)

    monkeypatch.setattr(g_worker, "run", step)

    code, steps = run(tmp_path, "--only", "g", "a")

    assert code == 1
    assert (steps["g"]["state"], steps["a"]["state"]) == ("failed", "done")
    assert steps["g"]["why"].startswith(said)
    assert steps["g"]["found"].pop("before") == 1
    assert list(steps["g"]["found"].values()) == ["1000\n"] * (broken is eats_memory)


def test_a_step_that_hangs_is_ended_with_what_it_started_and_the_next_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def hanging(rig: Rig) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        rig.found("started", subprocess.Popen(["sleep", "600"]).pid)
        while "started" not in (tmp_path / "gpu.json").read_text():
            time.sleep(0.01)
        rig.found("on the disk at once", True)
        signal.pause()

    monkeypatch.setattr(g_worker, "run", hanging)
    monkeypatch.setattr(gpu, "STEPS", {**gpu.STEPS, "a": gpu.Step("after", "a_machine", 270)})

    code, steps = run(tmp_path, "--only", "g", "a", "--budget", "20")

    assert code == 1
    assert (steps["g"]["state"], steps["g"]["why"]) == ("ended", "its budget of 2 s was over")
    assert steps["g"]["found"]["on the disk at once"]
    assert gone(steps["g"]["found"]["started"])
    assert steps["a"]["state"] == "done"


def gone(pid: int) -> bool:
    """Whether a process runs no more; nobody may have asked how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_a_step_ends_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that is killed, or runs out of its own time."""
    read, write = os.pipe()

    def hanging(rig: Rig) -> None:
        os.write(write, b"%d" % os.getpid())
        signal.pause()

    monkeypatch.setattr(g_worker, "run", hanging)
    command = os.fork()
    if not command:
        run(tmp_path, "--only", "g")
        os._exit(0)
    step = int(os.read(read, 20))
    os.kill(command, signal.SIGKILL)
    os.waitpid(command, 0)

    while not gone(step):  # at once, or the test's own time is over
        time.sleep(0.01)


def test_a_batch_that_a_small_card_has_no_room_for_is_said_and_the_next_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def row(rig: Rig, network: object, size: object, batch: int, *rest: object) -> None:
        if batch == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore")
        rig.found(f"batch {batch}", "measured")

    monkeypatch.setattr(d_speed, "_row", row)
    for rest in ("_where_time_goes", "_torchvision"):
        monkeypatch.setattr(d_speed, rest, lambda *given: None)

    code, steps = run(tmp_path, "--only", "d")

    assert (code, steps["d"]["state"]) == (0, "done")
    assert steps["d"]["found"] == {
        "96x160, batch 1": "does not fit: CUDA out of memory. Tried to allocate 2.00 GiB",
        "batch 2": "measured",
    }


def test_a_kernel_that_loses_the_device_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing in the step's process can use the device again; what it has lost is still said."""

    def lost(*given: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(b_kernels, "cases", lambda: [("nms", "one group", lost)])
    monkeypatch.setattr(Rig, "bandwidth", lost)

    code, steps = run(tmp_path, "--only", "b", "a")

    assert code == 1
    assert "nms (one group): CUDA error: an illegal memory access" in steps["b"]["why"]
    assert steps["a"]["state"] == "failed"  # its bandwidth is lost, too


def test_a_wheel_that_is_missing_fails_its_step_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.gpu_steps.f_decode", None)

    code, steps = run(tmp_path, "--only", "f", "a")

    assert code == 1
    assert steps["f"]["why"].startswith("ModuleNotFoundError: ")
    assert steps["a"]["state"] == "done"


def test_the_budgets_are_those_of_the_whole() -> None:
    assert sum(step.share for step in gpu.STEPS.values()) == 300
