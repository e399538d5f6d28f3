"""The command on a Ray of its own: told to end, and bereft of a process it hangs on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.kills import Family

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

STREET = "synthetic://street?seed=1&frames=100000&size=160x96"
Driver = Callable[..., subprocess.Popen[str]]


CLI = [sys.executable, "-c", "from pipeline.cli.main import main; main()"]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """Start the command line as a user would; ended by pid if a test fails."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*CLI, *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def looked_at(process: subprocess.Popen[str]) -> Family:
    family = Family(process.pid)
    family.look()
    return family


def wait_until_gone(family: Family) -> None:
    gone_by = time.monotonic() + 30
    while left := family.living():
        assert time.monotonic() < gone_by, left
        time.sleep(0.05)


def terminate(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    """A terminal sends it to all processes of the command, workers included."""
    os.killpg(process.pid, signal.SIGINT)


def hang_up(process: subprocess.Popen[str]) -> None:
    """A terminal that goes away tells so to all of them, too."""
    os.killpg(process.pid, signal.SIGHUP)


def test_a_second_signal_while_ray_starts_leaves_at_once_and_nothing_behind(
    driver: Driver, tmp_path: Path
) -> None:
    process = driver("track", "synthetic://street", "--model", "blob", "--output", str(tmp_path))
    while not (family := looked_at(process)).named("gcs"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    for _ in range(2):
        terminate(process)
        time.sleep(0.2)  # two of a kind that wait for a process are one
    family.look()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (1, False)
    wait_until_gone(family)


@pytest.mark.parametrize("end_it", [terminate, press_ctrl_c, hang_up])
def test_told_to_end_the_command_drains_its_own_ray_and_leaves_nothing_behind(
    end_it: Callable[[subprocess.Popen[str]], None],
    driver: Driver,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    process = driver("track", STREET, "--model", "blob", "--sink", f"jsonl:{out}/{{source}}.jsonl")
    path = out / "street.jsonl"
    wait_for_lines(path, 40, process)
    family = looked_at(process)
    (segment_worker,) = family.named("segment")
    os.kill(segment_worker, signal.SIGKILL)  # what Ray has to say about it is not for users
    wait_for_lines(path, path.read_bytes().count(b"\n") + 40, process)
    family.look()
    end_it(process)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    end = lines.pop()
    assert [line["frame"] for line in lines] == list(range(len(lines)))
    accounting = end["accounting"]
    assert accounting["captured"] == accounting["published"] == len(lines)
    assert (accounting["in_flight"], accounting["dropped"]) == (0, {})
    warnings = [line for line in errors.splitlines() if line.startswith("WARNING")]
    assert warnings == [
        "WARNING segment-0 died: its process was killed or crashed; another takes its place",
        "WARNING stopping: what was captured is still published; once more to give it up",
    ]
    assert printed == ""
    assert "Traceback" not in errors
    assert "received at time" not in errors  # what Ray prints where it hears of a signal
    wait_until_gone(family)


@pytest.mark.parametrize(("name", "said"), [("raylet", "raylet"), ("gcs", "control store (GCS)")])
def test_a_ray_that_loses_one_of_its_own_processes_ends_the_run_with_one_line(
    name: str, said: str, driver: Driver, tmp_path: Path
) -> None:
    process = driver("track", STREET, "--model", "blob", "--sink", f"jsonl:{tmp_path}/a.jsonl")
    wait_for_lines(tmp_path / "a.jsonl", 40, process)
    family = looked_at(process)
    (victim,) = family.named(name)
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors.splitlines()[-1:]) == (
        1,
        [
            f"maskstream: the {said} of Ray was ended by signal 9; the same command starts anew, "
            "with --state-dir where it was"
        ],
    )
    assert "Traceback" not in errors
    wait_until_gone(family)
