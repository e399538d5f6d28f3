"""While Ray starts: its raw lines reach nobody, and a command it ends has its one line."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.leftovers import RAW, last_said, lost_children, sorted_out

CPP = "[2026-11-28 22:56:56,928 {level} 15187 15416] {name}core_worker_process.cc:1029: {text}"
DEAD = CPP.format(
    level="E",
    name="(python-core-driver-01000000ffff) ",
    text="Failed to register worker to Raylet: IOError. Please see `raylet.out`.",
)
PYTHON = "2026-11-28 22:56:56,928\tERROR node.py:12 -- no such node"
GRPC = "E0000 00:00:1764370616.928 15187 subchannel.cc:999] connection refused"
FATAL = (
    CPP.format(level="C", name="", text="x").replace(" C ", " F ") + "\n*** StackTrace ***\n @ 0x1"
)


def test_lines_of_ray_are_told_from_those_of_others() -> None:
    text = "\n".join(["WARNING ours", DEAD, PYTHON, GRPC, "[2026] theirs", FATAL])
    others, rays = sorted_out(text)
    assert others == ["WARNING ours", "[2026] theirs"]
    assert rays == [
        "Failed to register worker to Raylet: IOError. Please see `raylet.out`.",
        "no such node",
        "connection refused",
        "x",
    ]


def test_where_ray_stands_at_a_signal_is_nobodys_line() -> None:
    trace = [
        "*** SIGTERM received at time=1764406516 on cpu 1 ***",
        "PC: @     0x7f705714b1a3  (unknown)  __recv",
        "    @     0x7f705705a050  (unknown)  (unknown)",
    ]
    logged = [CPP.format(level="E", name="", text=line) for line in trace]
    text = "\n".join(["WARNING ours", *trace, DEAD, *logged, "theirs @ home"])
    others, rays = sorted_out(text)
    assert others == ["WARNING ours", "theirs @ home"]
    assert rays == ["Failed to register worker to Raylet: IOError. Please see `raylet.out`."]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        pytest.param(DEAD, ["no: Failed to register worker to Raylet: IOError; go"], id="by-ray"),
        pytest.param(f"mine\n{FATAL}", ["mine", "no: x; go"], id="by-a-fatal-line"),
        pytest.param("mine\n", ["mine"], id="killed"),
        pytest.param(None, [], id="before-it-began"),
    ],
)
def test_what_is_said_for_a_run_that_cannot(
    written: str | None, said: list[str], tmp_path: Path
) -> None:
    if written is not None:
        (tmp_path / RAW).write_text(written)
    assert last_said(tmp_path, "no: {reason}; go") == said


RUN = """
import os, sys
from pipeline.cli.telling import open_streams, say
from workers import private
from workers.aside import raw_lines_aside
open_streams()
private._bases = lambda: [sys.argv[1]]
folder = private.PrivateFolder()
with raw_lines_aside(folder, "maskstream: {reason}"):
    say("ours")
    os.write(2, (sys.argv[2] + "\\ntheirs\\n").encode())
    if sys.argv[3] == "ends":
        os._exit(1)
os.write(2, b"after\\n")
folder.remove()
"""


@pytest.fixture
def base() -> Iterator[Path]:
    """A short place for temporary files, empty at the end."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield folder
    folder.rmdir()


@pytest.mark.parametrize(
    ("then", "code", "said"),
    [
        ("ends", 1, "ours\ntheirs\nmaskstream: Failed to register worker to Raylet: IOError\n"),
        ("goes on", 0, "ours\ntheirs\nafter\n"),
    ],
)
def test_a_process_that_rays_code_ends_has_its_line_and_one_that_lives_has_none(
    then: str, code: int, said: str, base: Path
) -> None:
    command = [sys.executable, "-c", RUN, str(base), DEAD, then]
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (run.returncode, run.stderr) == (code, said)
    while list(base.iterdir()):  # its reader saw the end before the folder goes
        pass


HELD = """
import ctypes, subprocess, sys
from workers import private
from workers.aside import raw_lines_aside
from workers.leftovers import may_end
private._bases = lambda: [sys.argv[1]]
folder = private.PrivateFolder()
with raw_lines_aside(folder, may_end("maskstream: {reason}; go", dead=[1, 2])):
    command = [sys.argv[2], "-I", "-S", "-c", "print(flush=True); input()"]
    home = {"PYTHONHOME": sys.base_prefix}
    store = subprocess.Popen(command, stdin=-1, stdout=-1, env=home)
    store.stdout.readline()
    store.kill()
    ctypes.PyDLL(None).sleep(40)  # no thread of Python runs any more
"""


def test_a_run_that_waits_in_rays_code_for_what_is_dead_is_ended_and_has_its_line(
    base: Path, tmp_path: Path
) -> None:
    program = tmp_path / "gcs_server"
    program.symlink_to(sys.executable)
    command = [sys.executable, "-c", HELD, str(base), str(program)]
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    said = "maskstream: its control store (GCS) died before it was up; go\n"
    assert (run.returncode, run.stderr) == (-signal.SIGKILL, said)
    while list(base.iterdir()):  # its reader saw the end before the folder goes
        pass


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGKILL, "died"), (signal.SIGSTOP, "was stopped")]
)
def test_what_a_run_waits_for_in_vain_is_dead_or_was_stopped(
    number: signal.Signals, how: str, tmp_path: Path
) -> None:
    program = tmp_path / "raylet"
    program.symlink_to(sys.executable)
    process = subprocess.Popen(
        [str(program), "-I", "-S", "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONHOME": sys.base_prefix},
    )
    assert process.stdout is not None
    process.stdout.readline()
    assert process.pid not in lost_children(os.getpid())
    process.send_signal(number)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
    assert lost_children(os.getpid())[process.pid] == f"raylet {how}"
    process.kill()
    process.communicate()
