"""A step in a process of its own, ended at its budget with all it started."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

from benchmarks.gpu_steps.report import StepResult
from benchmarks.gpu_steps.rig import Rig

Step = Callable[[Rig], None]


def run(
    step: Step, result: StepResult, *, dry: bool, budget_s: float, changed: Callable[[], None]
) -> None:
    """Run a step; whatever becomes known is in `result` at once, and `changed` is called."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")  # what was imported once is there
    child = context.Process(target=_in_child, args=(step, theirs, dry, budget_s))
    began = time.monotonic()
    result.state = "under way"
    changed()
    child.start()
    theirs.close()
    while True:
        left_s = began + budget_s - time.monotonic()
        if left_s <= 0 or not ours.poll(left_s):
            result.state, result.why = "ended", f"its budget of {budget_s:.0f} s was over"
            break
        try:
            kind, name, value = ours.recv()
        except EOFError:
            break
        if kind == "found":
            result.found[name] = value
        else:
            result.state, result.why = kind, value
        result.seconds = time.monotonic() - began
        changed()
    _end(child)
    if result.state == "under way":
        result.state, result.why = "failed", f"its process ended with {child.exitcode}"
    result.seconds = time.monotonic() - began
    changed()


def _in_child(step: Step, report: Connection, dry: bool, budget_s: float) -> None:
    os.setsid()
    rig = Rig(dry, budget_s, lambda name, value: report.send(("found", name, value)))
    try:
        if dry:
            import cv2
            import torch

            torch.set_num_threads(1)
            cv2.setNumThreads(1)
        step(rig)
    except BaseException as error:  # noqa: BLE001 - said in the report, the next step goes on
        text = str(error).partition("\n")[0]
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"
        report.send(("failed", "", f"{type(error).__name__} at {where}: {text}"))
    else:
        report.send(("done", "", ""))
    finally:
        report.close()


def _end(child: multiprocessing.process.BaseProcess) -> None:
    """Wait for a child that is done; end one that is not, and what it started."""
    child.join(2.0)
    if child.is_alive() and child.pid is not None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(child.pid, number)
            except ProcessLookupError:
                child.kill()
            child.join(3.0)
            if not child.is_alive():
                break
