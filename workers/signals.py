"""What SIGINT, SIGTERM and SIGHUP mean for a run: the first drains, the second leaves at once."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

LEAVE_AFTER_S = 1.5
"""Time the second signal leaves for closing files before the process is ended."""

ASKED_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def drained_by_signals(
    stop: threading.Event, abort: threading.Event, *, end_now: Callable[[], object]
) -> Iterator[None]:
    """Set `stop` at the first signal, `abort` at the second, and end the process soon after that.

    Whoever has handlers of their own, or calls from another thread, keeps what they have. Each
    signal is looked at by itself: a shell starts background jobs with SIGINT ignored, and they
    are ended by SIGTERM. Ray ends all its processes when that of the driver is gone.
    """
    usual = (signal.SIG_DFL, signal.default_int_handler)
    ours = [number for number in ASKED_TO_END if signal.getsignal(number) in usual]
    if threading.current_thread() is not threading.main_thread() or not ours:
        yield
        return

    def caught() -> None:
        if not stop.is_set():
            stop.set()
        elif not abort.is_set():
            abort.set()
            timer = threading.Timer(LEAVE_AFTER_S, end_now)
            timer.daemon = True
            timer.start()

    with _each(ours, caught) as handle:
        before = {number: signal.signal(number, handle) for number in ours}

        def put_back() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        _children_forget.append(put_back)
        try:
            yield
        finally:
            put_back()
            _children_forget.remove(put_back)


_children_forget: list[Callable[[], object]] = []
"""What a forked child undoes: a signal to it is none to us, and ends it."""
os.register_at_fork(after_in_child=lambda: [undo() for undo in _children_forget])


@contextmanager
def _each(
    numbers: Collection[int], act: Callable[[], object]
) -> Iterator[Callable[[int, FrameType | None], object]]:
    """Have `act` called for each signal as it comes; gives the handler to set for them.

    Python calls a handler once for all that came while the main thread was in foreign code, and
    only behind it; starting Ray is seconds of that. So what comes is counted below Python, and
    read by whoever is first, the handler or a thread.
    """
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    if (others := signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)) != -1:
        signal.set_wakeup_fd(others)  # an event loop of the program counts for itself
        reader.close()
        writer.close()
        yield lambda number, frame: act()
        return
    turn = threading.RLock()  # a handler may come while its own thread reads

    def take(number: int = 0, frame: FrameType | None = None) -> bool:
        with turn, suppress(BlockingIOError):
            came = reader.recv(4096)
            for _ in (number for number in came if number in numbers):
                act()
            return bool(came)
        return True

    def wait() -> None:
        while select.select([reader], [], [])[0] and take():
            pass

    def count_no_more() -> None:
        signal.set_wakeup_fd(-1)

    thread = threading.Thread(target=wait, name="signals", daemon=True)
    thread.start()
    _children_forget.append(count_no_more)
    try:
        yield take
    finally:
        count_no_more()
        _children_forget.remove(count_no_more)
        writer.close()
        thread.join()
        reader.close()


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Nobody else sets handlers in the block, and processes started in it are spared SIGHUP.

    `ray.init` sets a handler of its own, before it does what takes long: a second signal would
    meet that one. And a terminal that goes away tells all its processes so, when those of Ray are
    needed to drain; they have SIGINT blocked by Ray itself. A mask is inherited, handlers are not.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    set_handler = signal.signal

    def keep(number: int, handler: Any) -> Any:
        if number in ASKED_TO_END:
            return signal.getsignal(number)
        return set_handler(number, handler)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    signal.signal = keep  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = set_handler
        for number in ASKED_TO_END:  # below Python Ray has put one that prints where it stands
            if (handler := signal.getsignal(number)) is not None:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
