"""While Ray starts: a process that dies ends the start at once."""

import os
import subprocess
import sys
import threading
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


def test_what_died_in_an_earlier_try_is_no_matter(tmp_path: Path) -> None:
    process = store(tmp_path)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with interrupted_without_its_processes():
        wait_until_seen()
    process.communicate()


def test_a_start_that_does_not_hear_is_ended_by_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(birth, "HEARD_WITHIN_S", birth.LOOK_EVERY_S)
    reasons, asked = [], threading.Event()

    def last_resort(reason: str) -> None:
        reasons.append(reason)
        asked.set()

    with pytest.raises(NotBorn), interrupted_without_its_processes(last_resort):  # noqa: PT012
        wait_until_seen()
        process = store(tmp_path)
        wait_until_seen()
        process.kill()
        while not asked.is_set():  # deaf: what interrupts it is caught
            try:
                asked.wait(0.01)
            except NotBorn:
                continue
        for _ in range(1000):
            time.sleep(0.02)
    process.communicate()
    assert set(reasons) == {"its control store (GCS) died before it was up"}


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
