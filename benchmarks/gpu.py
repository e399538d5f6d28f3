"""Everything that has to be known of a GPU, in one command: `python -m benchmarks.gpu`.

Needs this repository, an NVIDIA GPU and torch, torchvision, triton, numpy, scipy, opencv,
safetensors, av and pycocotools; no network, no Ray. Tried with torch 2.11, triton 3.6 and numpy 2.5
under Python 3.12, and with torch 2.14, triton 3.8 and numpy 2.4 under Python 3.11.

Steps come in order of value, each in a process that is ended at its own budget; each figure is in
OUT/gpu.json and OUT/gpu.md the moment it is known, and what is printed at the end is ready for
docs/performance.md.

`--dry-run` goes through every step on a CPU: Triton's interpreter, stand-ins for CUDA, tiny sizes.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from benchmarks.gpu_steps.report import Report, StepResult
from benchmarks.machine import machine

PACKAGES = ("torch", "torchvision", "triton", "av", "cv2", "numpy")


@dataclass(frozen=True)
class Step:
    """One of the files in `gpu_steps`."""

    title: str
    module: str
    share: float
    """Of the whole budget; what a step leaves over goes to those behind it."""


STEPS = {
    "a": Step("the machine and its ceilings", "a_machine", 15),
    "b": Step("kernels against their twins, fusion, graphs", "b_kernels", 50),
    "c": Step("parity in fp32, AP in fp16", "c_parity", 40),
    "d": Step("speed beside torchvision", "d_speed", 90),
    "e": Step("what must hold", "e_checks", 45),
    "f": Step("decoding on the GPU", "f_decode", 30),
    "g": Step("the segment worker's own path", "g_worker", 30),
}


def main(given: Sequence[str] | None = None) -> int:
    arguments = _arguments(given)
    if arguments.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
    report = Report(arguments.out, machine(*PACKAGES) + (", dry run" if arguments.dry_run else ""))
    chosen = arguments.only or list(STEPS)
    report.steps = {letter: StepResult(STEPS[letter].title) for letter in chosen}
    report.write()
    end = time.monotonic() + arguments.budget
    for number, letter in enumerate(chosen):
        step = STEPS[letter]
        left_s = max(0.0, end - time.monotonic())
        rest = sum(STEPS[other].share for other in chosen[number:])
        _run(step, letter, report, left_s * step.share / rest, dry=arguments.dry_run)
    print(report.section(), flush=True)
    return 0 if report.ok else 1


def _run(step: Step, letter: str, report: Report, budget_s: float, *, dry: bool) -> None:
    result = report.steps[letter]
    try:
        from benchmarks.gpu_steps import child

        run = import_module(f"benchmarks.gpu_steps.{step.module}").run
    except Exception as error:  # noqa: BLE001 - a wheel that is missing, or broken, is said
        result.state = "failed"
        result.why = f"{type(error).__name__}: {error}"
        report.write()
    else:
        child.run(run, result, dry=dry, budget_s=budget_s, changed=report.write)
    why = f": {result.why}" if result.why else ""
    print(f"step {letter}, {step.title}: {result.state}{why} ({result.seconds:.1f} s)", flush=True)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=float, default=300.0, help="seconds in all")
    parser.add_argument("--only", nargs="+", choices=list(STEPS), metavar="STEP", help="a to g")
    parser.add_argument("--dry-run", action="store_true", help="on a CPU, with stand-ins")
    parser.add_argument("--out", type=Path, default=Path("out/gpu"))
    return parser.parse_args(given)


if __name__ == "__main__":
    code = main()
    os._exit(code)  # without waiting for a step's process that a driver holds on to
