"""What SIGINT, SIGTERM and SIGHUP mean for a run: the first drains, the second leaves at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

    def caught(number: int, frame: FrameType | None) -> None:
        if not stop.is_set():
            stop.set()
        elif not abort.is_set():
            abort.set()
            timer = threading.Timer(LEAVE_AFTER_S, end_now)
            timer.daemon = True
            timer.start()

    before = {number: signal.signal(number, caught) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
