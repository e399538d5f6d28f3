"""A step in a process of its own, ended at its budget with all it started."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.gpu_steps import standins
from benchmarks.gpu_steps.report import StepResult
from benchmarks.gpu_steps.rig import Rig

Step = Callable[[Rig], None]
_LEAVING_S = 3.0
"""A process that has said everything, or was killed, has so long to be gone."""
_PR_SET_PDEATHSIG = 1


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
    try:
        _listen(ours, result, began + budget_s, changed)
    except TimeoutError:
        result.state, result.why = "ended", f"its budget of {budget_s:.0f} s was over"
    else:
        child.join(_LEAVING_S)
    finally:
        _end(child)
    if result.state == "under way":
        result.state, result.why = "failed", _how_it_ended(child.exitcode)
    result.seconds = time.monotonic() - began
    changed()


def _listen(
    report: Connection, result: StepResult, end: float, changed: Callable[[], None]
) -> None:
    """Note what comes until the other side is closed; TimeoutError when time is over."""
    began = time.monotonic()
    while True:
        left_s = end - time.monotonic()
        if left_s <= 0 or not report.poll(left_s):
            raise TimeoutError
        try:
            kind, name, value = report.recv()
        except EOFError:
            return
        if kind == "found":
            result.found[name] = value
        else:
            result.state, result.why = kind, value
        result.seconds = time.monotonic() - began
        changed()


def _in_child(step: Step, report: Connection, dry: bool, budget_s: float) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody would listen any more
    with suppress(OSError):  # where memory runs out, this one goes first, not who writes the report
        Path("/proc/self/oom_score_adj").write_text("1000")
    rig = Rig(dry, budget_s, lambda name, value: report.send(("found", name, value)))
    try:
        if dry:
            standins.begin_dry()
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
    """End a child that is still there, with what it started."""
    if child.is_alive() and child.pid is not None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has no group of its own yet
            child.kill()
        child.join(_LEAVING_S)  # one that a driver holds on to is left behind


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with {code}"
