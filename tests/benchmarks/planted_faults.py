"""Faults of every kind, planted one at a time: the dry run fails and names the step and the place.

`test_gpu.py` runs this file in a process of its own, where kernels are interpreted.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import gpu
from benchmarks.gpu_steps import b_kernels, g_worker, kernel_cases
from benchmarks.gpu_steps.rig import Rig
from pipeline.models.mask_rcnn.engine import graphs, lanes
from pipeline.models.mask_rcnn.engine.operators import (
    nms_triton,
    preprocess_triton,
    roi_align_triton,
    runs_triton,
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[ModuleType, str, str], ModuleType]:
    def plant(module: ModuleType, old: str, new: str) -> ModuleType:
        source = inspect.getsource(module)
        assert old in source, "the place of the fault has gone"
        name = f"planted_{module.__name__.rpartition('.')[2]}"
        file = tmp_path / f"{name}.py"
        file.write_text(source.replace(old, new))
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        copy = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, copy)
        spec.loader.exec_module(copy)
        return copy

    return plant


def run(out: Path, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    code = gpu.main(["--dry-run", "--out", str(out), *arguments])
    return code, json.loads((out / "gpu.json").read_text())["steps"]


@pytest.mark.parametrize(
    ("module", "kernel", "old", "new"),
    [
        pytest.param(nms_triton, "nms", "> limit", ">= limit", id="overlaps"),
        pytest.param(nms_triton, "nms", "(own >> (i % 32))", "(own >> (i % 31))", id="survivors"),
        pytest.param(roi_align_triton, "roi_align", "0.25 + 0.5 * (tap % 2)", "0.25 + 0.5 * 0",
                     id="roi-align-tap"),
        pytest.param(roi_align_triton, "roi_align", "(area >= tl", "(area > tl",
                     id="roi-align-level"),
        pytest.param(preprocess_triton, "prepare", "from_blue = 2 - channel", "from_blue = channel",
                     id="prepare"),
        pytest.param(runs_triton, "paste", "(y <= last)", "(y < last)", id="columns"),
        pytest.param(runs_triton, "paste", "_exact(a, b, c, d, 1", "_exact(a, c, b, d, 1",
                     id="columns-at-one-half"),
    ],
)  # fmt: skip
def test_a_fault_in_a_kernel(
    planted: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    module: ModuleType, kernel: str, old: str, new: str,
) -> None:  # fmt: skip
    copy = planted(module, old, new)
    monkeypatch.setattr(kernel_cases, module.__name__.rpartition(".")[2], copy)
    own = [case for case in kernel_cases.cases() if case[0] == kernel]
    monkeypatch.setattr(b_kernels, "cases", lambda: own)
    monkeypatch.setattr(b_kernels, "timed", lambda rig: [])

    code, steps = run(tmp_path, "--only", "b")

    assert code == 1
    assert steps["b"]["state"] == "failed"
    assert f"{kernel} (" in steps["b"]["why"]


def test_a_fault_in_the_graphs(
    planted: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = planted(graphs, "own.copy_(given)", "own.clone()")
    monkeypatch.setattr(lanes, "Graphs", copy.Graphs)

    code, steps = run(tmp_path, "--only", "b")

    assert code == 1
    assert "a replay gave [3.0, 3.0" in steps["b"]["why"]


def test_a_fault_in_a_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(rig: Rig) -> None:
        rig.found("before", 1)
        raise KeyError("batch")

    monkeypatch.setattr(g_worker, "run", broken)

    code, steps = run(tmp_path, "--only", "g", "a")

    assert code == 1
    assert steps["g"]["state"] == "failed"
    assert steps["g"]["why"].startswith("KeyError at planted_faults.py:")
    assert steps["g"]["found"] == {"before": 1}
    assert steps["a"]["state"] == "done"


def test_a_step_that_hangs_is_ended_with_what_it_started_and_the_next_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def hanging(rig: Rig) -> None:
        rig.found("on the disk at once", json.loads((tmp_path / "gpu.json").read_text())["about"])
        time.sleep(600)

    monkeypatch.setattr(g_worker, "run", hanging)
    monkeypatch.setattr(gpu, "STEPS", {**gpu.STEPS, "a": gpu.Step("after", "a_machine", 270)})

    code, steps = run(tmp_path, "--only", "g", "a", "--budget", "30")

    assert code == 1
    assert (steps["g"]["state"], steps["g"]["why"]) == ("ended", "its budget of 3 s was over")
    assert steps["g"]["found"]
    assert steps["a"]["state"] == "done"


def test_a_step_whose_process_dies_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def killed(rig: Rig) -> None:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(g_worker, "run", killed)

    assert run(tmp_path, "--only", "g")[1]["g"]["why"] == "its process ended with -9"


def test_a_wheel_that_is_missing_fails_its_step_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.gpu_steps.f_decode", None)

    code, steps = run(tmp_path, "--only", "f", "a")

    assert code == 1
    assert steps["f"]["why"].startswith("ModuleNotFoundError: ")
    assert steps["a"]["state"] == "done"
