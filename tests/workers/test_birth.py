"""While Ray starts: a process that dies ends the start at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers import birth
from workers.birth import NotBorn, children, interrupted_without_its_processes

SLEEPS = "import sys; print('up', flush=True); sys.stdin.read()"


def store(tmp_path: Path) -> subprocess.Popen[str]:
    """A child process whose program is called like the control store."""
    program = tmp_path / "gcs_server"
    program.symlink_to(sys.executable)
    process = subprocess.Popen(
        [str(program), "-I", "-S", "-c", SLEEPS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONHOME": sys.base_prefix},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def wait_until_seen() -> None:
    """Two looks of the watcher."""
    time.sleep(3 * birth.LOOK_EVERY_S)


def test_children_are_told_by_the_name_of_their_program(tmp_path: Path) -> None:
    process = store(tmp_path)
    assert children()[process.pid] == ("gcs_server", True)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the books
    assert children()[process.pid] == ("gcs_server", False)
    process.communicate()
    assert process.pid not in children()


def test_a_start_in_which_nothing_dies_is_left_alone(tmp_path: Path) -> None:
    with interrupted_without_its_processes():
        wait_until_seen()
        process = store(tmp_path)
        wait_until_seen()
    process.kill()
    process.communicate()


def test_a_start_that_loses_its_control_store_ends_and_says_so(tmp_path: Path) -> None:
    with (  # noqa: PT012 - the block is what is interrupted
        pytest.raises(NotBorn, match=r"its control store \(GCS\) died before it was up"),
        interrupted_without_its_processes(),
    ):
        wait_until_seen()
        process = store(tmp_path)
        wait_until_seen()
        process.kill()
        for _ in range(1000):
            time.sleep(0.02)
    process.communicate()


def test_a_start_whose_control_store_was_stopped_ends_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(birth, "MAY_STAND_STILL_S", 0.2)
    with (  # noqa: PT012 - the block is what is interrupted
        pytest.raises(NotBorn, match=r"its control store \(GCS\) was stopped before it was up"),
        interrupted_without_its_processes(),
    ):
        wait_until_seen()
        process = store(tmp_path)
        wait_until_seen()
        process.send_signal(signal.SIGSTOP)
        for _ in range(1000):
            time.sleep(0.02)
    process.kill()
    process.communicate()


def test_what_died_in_an_earlier_try_is_no_matter(tmp_path: Path) -> None:
    process = store(tmp_path)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with interrupted_without_its_processes():
        wait_until_seen()
    process.communicate()


DEAF = """
import ctypes, os, subprocess, sys, time
from workers import birth
birth.HEARD_WITHIN_S = 0.2
words = lambda reason: print(reason, flush=True)
with birth.interrupted_without_its_processes(words if sys.argv[2] == "may end" else None):
    command = [sys.argv[1], "-I", "-S", "-c", "print(flush=True); input()"]
    home = {"PYTHONHOME": sys.base_prefix}
    store = subprocess.Popen(command, stdin=-1, stdout=-1, env=home)
    store.stdout.readline()
    time.sleep(3 * birth.LOOK_EVERY_S)
    store.kill()
    until = time.monotonic() + 4 * birth.LOOK_EVERY_S
    while time.monotonic() < until:  # deaf: what interrupts it is caught
        try: time.sleep(0.01)
        except birth.NotBorn: pass
    ctypes.PyDLL(None).usleep(900_000)  # no other thread of Python runs meanwhile
    time.sleep(10)
print("lives")
"""


@pytest.mark.parametrize(
    ("may", "code", "said"),
    [
        ("may end", 1, "its control store (GCS) died before it was up\n"),
        ("is ours", 1, ""),
    ],
)
def test_a_start_that_cannot_hear_as_rays_code_holds_all_of_python_is_ended_where_it_may_be(
    may: str, code: int, said: str, tmp_path: Path
) -> None:
    program = tmp_path / "gcs_server"
    program.symlink_to(sys.executable)
    run = subprocess.run(
        [sys.executable, "-c", DEAF, str(program), may],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout) == (code, said)
    assert ("NotBorn" in run.stderr) == (may == "is ours")  # heard in the end


def test_what_is_traced_afterwards_ends() -> None:
    script = (
        "import sys\n"
        "from workers.birth import NotBorn, interrupted_without_its_processes\n"
        "with interrupted_without_its_processes(): pass\n"
        "def traced(): return 7\n"
        "sys.settrace(lambda *_: None)\n"
        "print(traced())\n"
    )
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, capture_output=True, timeout=20, check=True).stdout == b"7\n"
