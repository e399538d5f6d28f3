"""Which processes of Ray are gone, without a Ray."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.testing import ManualClock
from workers.vital import Vital, is_frozen

NEXT = "the same command starts anew, with --state-dir where it was"


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The node of a Ray that listens where it should; the test takes away what it likes."""
    import ray._private.worker as worker

    with socket.socket(socket.AF_UNIX) as raylet:
        raylet.bind(str(tmp_path / "raylet"))
        raylet.listen()
        made = SimpleNamespace(
            all_processes={},
            dead=[],
            raylet=raylet,
            raylet_socket_name=str(tmp_path / "raylet"),
        )
        made.dead_processes = lambda: made.dead
        monkeypatch.setattr(worker, "_global_node", made)
        yield made


def ours(node: Any, kind: str, code: int) -> None:
    node.all_processes = {"raylet": [], "gcs_server": []}
    node.dead = [(kind, SimpleNamespace(returncode=code))]


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("raylet", -9, "the raylet of Ray was ended by signal 9"),
        ("raylet", 1, "the raylet of Ray ended with exit code 1"),
        ("gcs_server", -15, "the control store (GCS) of Ray was ended by signal 15"),
    ],
)
def test_a_process_of_our_own_ray_that_ended_is_named(
    node: Any, kind: str, code: int, said: str
) -> None:
    ours(node, kind, code)
    assert Vital().fault() == f"{said}; {NEXT}"


def test_a_process_of_ray_that_nothing_hangs_on_may_end(node: Any) -> None:
    ours(node, "log_monitor", 1)
    assert Vital().fault() is None


def test_without_ray_nothing_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray._private.worker as worker

    monkeypatch.setattr(worker, "_global_node", None)
    assert Vital().fault() is None


def test_the_raylet_of_a_ray_we_joined_is_missed_as_soon_as_it_is_gone(node: Any) -> None:
    clock = ManualClock()
    vital = Vital(clock)
    assert vital.fault() is None
    node.raylet.close()
    clock.advance(1.9)
    assert vital.fault() is None  # not looked at
    clock.advance(0.1)
    assert vital.fault() == f"the raylet of the Ray at --address is gone; {NEXT}"


def test_a_process_that_was_stopped_is_frozen_until_it_goes_on_and_none_once_it_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=-1)
    assert not is_frozen(process.pid)
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_frozen(process.pid)
    process.kill()
    process.communicate()
    assert not is_frozen(process.pid)


@pytest.mark.parametrize(
    ("kind", "name"), [("raylet", "raylet"), ("gcs_server", "control store (GCS)")]
)
def test_a_process_of_our_own_ray_that_was_stopped_may_go_on_for_a_while(
    node: Any, kind: str, name: str
) -> None:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=-1)
    node.all_processes = {kind: [SimpleNamespace(process=process)]}
    clock = ManualClock()
    vital = Vital(clock)
    try:
        for _ in range(2):  # stopped, gone on, stopped
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            assert vital.fault() is None
            clock.advance(11.5)
            assert vital.fault() is None
            process.send_signal(signal.SIGCONT)
            os.waitid(os.P_PID, process.pid, os.WCONTINUED)
            assert vital.fault() is None
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert vital.fault() is None
        clock.advance(12.0)
        assert vital.fault() == f"the {name} of Ray was stopped and does not go on; {NEXT}"
    finally:
        process.kill()
        process.communicate()
