"""The first signal drains, the second leaves, other people's handlers stay."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workers import signals
from workers.signals import drained_by_signals, handlers_kept


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_drains_and_the_second_ends_the_process(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "LEAVE_AFTER_S", 0.0)
    stop, abort, ended = threading.Event(), threading.Event(), threading.Event()
    before = signal.getsignal(number)
    with drained_by_signals(stop, abort, end_now=ended.set):
        signal.raise_signal(number)
        assert (stop.is_set(), abort.is_set()) == (True, False)
        signal.raise_signal(number)
        assert abort.is_set()
        assert ended.wait(5)
    assert signal.getsignal(number) is before


def test_a_signal_after_being_asked_to_stop_otherwise_leaves_too() -> None:
    stop, abort, ended = threading.Event(), threading.Event(), threading.Event()
    stop.set()
    with drained_by_signals(stop, abort, end_now=ended.set):
        signal.raise_signal(signal.SIGTERM)
        assert abort.is_set()


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,) * 2, (signal.SIGINT, signal.SIGHUP)])
def test_two_signals_are_heard_while_the_main_thread_is_in_foreign_code(
    numbers: tuple[signal.Signals, ...],
) -> None:
    """Python calls a handler once for both, and not before it is back."""
    stop, abort, locked = threading.Event(), threading.Event(), threading.Event()
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(128)
    heard: list[bool] = []

    def twice() -> None:
        libc.pthread_mutex_lock(mutex)
        locked.set()
        for number, event in zip(numbers, (stop, abort), strict=True):
            os.kill(os.getpid(), number)
            heard.append(event.wait(2))
        libc.pthread_mutex_unlock(mutex)

    thread = threading.Thread(target=twice)
    with drained_by_signals(stop, abort, end_now=stop.set):
        thread.start()
        locked.wait()
        libc.pthread_mutex_lock(mutex)  # no signal ends this wait
        thread.join()
    assert heard == [True, True]


def test_a_signal_to_a_forked_child_ends_it_and_is_none_to_us() -> None:
    stop = threading.Event()
    with drained_by_signals(stop, threading.Event(), end_now=stop.set):
        ready, here = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(here, b"!")
            signal.pause()
            os._exit(0)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
        os.close(ready)
        os.close(here)
    assert not stop.is_set()  # the thread that counts has come to its end by then


def test_an_event_loop_that_counts_signals_keeps_its_count() -> None:
    stop = threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno())
    try:
        with drained_by_signals(stop, threading.Event(), end_now=stop.set):
            signal.raise_signal(signal.SIGTERM)
            assert stop.is_set()
        assert reader.recv(9) == bytes([signal.SIGTERM])
    finally:
        assert signal.set_wakeup_fd(before) == writer.fileno()
        reader.close()
        writer.close()


def test_handlers_of_the_caller_stay() -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    stop = threading.Event()
    try:
        with drained_by_signals(stop, threading.Event(), end_now=stop.set):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught == [signal.SIGTERM]
    assert not stop.is_set()


def test_a_background_job_whose_sigint_is_ignored_is_still_drained_by_sigterm() -> None:
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with drained_by_signals(stop, threading.Event(), end_now=stop.set):
            signal.raise_signal(signal.SIGTERM)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert stop.is_set()


def test_another_thread_sets_no_handlers() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        stop = threading.Event()
        with drained_by_signals(stop, stop, end_now=stop.set), handlers_kept():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_nobody_else_sets_handlers_meanwhile() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with handlers_kept():
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_signal_while_others_set_handlers_leaves_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signals, "LEAVE_AFTER_S", 0.0)
    stop, abort, ended = threading.Event(), threading.Event(), threading.Event()
    with drained_by_signals(stop, abort, end_now=ended.set), handlers_kept():
        signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        signal.raise_signal(signal.SIGTERM)
        assert abort.is_set()
        assert ended.wait(5)


def test_processes_started_meanwhile_survive_the_end_of_their_terminal() -> None:
    with handlers_kept():
        child = subprocess.Popen(["sleep", "60"])
    try:
        child.send_signal(signal.SIGHUP)
        blocked = Path(f"/proc/{child.pid}/status").read_text().partition("SigBlk:")[2].split()[0]
        assert int(blocked, 16) >> (signal.SIGHUP - 1) & 1 == 1
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_hangup_that_comes_meanwhile_is_not_lost() -> None:
    stop = threading.Event()
    with drained_by_signals(stop, threading.Event(), end_now=stop.set):
        with handlers_kept():
            signal.raise_signal(signal.SIGHUP)
        assert stop.is_set()


def test_a_command_that_ignores_hangups_goes_on() -> None:
    stop = threading.Event()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with drained_by_signals(stop, threading.Event(), end_now=stop.set):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not stop.is_set()
