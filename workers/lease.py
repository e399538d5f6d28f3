"""What workers of a cluster live by: that the driver still asks after their machine.

A machine that was given up may go on all the same: cut off from the driver, or frozen and thawed.
Its streams are by then in other hands, so those that it still runs must end before they publish
another word. They hold a line to the scout of their machine, and the scout drops it where nobody
has asked after it for a while: before the driver gives the machine up, which is a little more
patient, and at once where the machine was frozen for longer.

Segment workers do no harm there and lose their model, so theirs is a `lasting` one: it is over only
when the machine is given up for certain. It is the scout's own too. Ray itself ends them as late as
a minute after its head has begun anew, and until then they would hold their GPUs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

from pipeline.clock import Clock

LOOK_EVERY_S = 0.1
EXIT_CODE = 70
LASTS_LONGER = 2.0
"""So many times as long."""


def lasting(line: str) -> str:
    """The name of the lease that lasts longer, beside that of stream workers."""
    return f"{line}-lasting"


class Lease:
    """Lines to workers of this machine; dropped where it is not renewed.

    Args:
        name: of an abstract socket, which needs no file and goes with its process.
        lasts_s: without being renewed.
        clock: monotonic seconds; goes on while the process is frozen.
    """

    def __init__(self, name: str, *, lasts_s: float, clock: Clock = time.monotonic) -> None:
        self._name = name
        self._lasts_s = lasts_s
        self._clock = clock
        self._until_s = clock() + lasts_s
        self._lines: list[socket.socket] = []
        self._open = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._open.bind(f"\0{name}")
        self._open.listen(1024)
        self._open.settimeout(LOOK_EVERY_S)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def renew(self) -> None:
        """It lasts from now on."""
        self._until_s = self._clock() + self._lasts_s

    def step(self) -> None:
        """Let in who waits for it; drop all of them where the lease is over. Of one thread."""
        self._drop_if_over()
        with contextlib.suppress(TimeoutError):
            self._lines.append(self._open.accept()[0])
        self._drop_if_over()  # it may have been frozen meanwhile

    def _drop_if_over(self) -> None:
        if self._clock() > self._until_s:
            for line in self._lines:
                line.close()
            self._lines = []

    def close(self) -> None:
        """Nobody lives by it any more."""
        self._closed.set()
        self._thread.join()
        for one in (self._open, *self._lines):
            one.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            self.step()


def hold(name: str, then: Callable[[], object] = lambda: os._exit(EXIT_CODE)) -> None:
    """Have `then` called, from a thread, once the lease of this name is over.

    Raises:
        OSError: nobody gives one.
    """
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(f"\0{name}")
    except OSError:
        line.close()
        raise

    def wait() -> None:
        with line, contextlib.suppress(OSError):
            line.recv(1)
        then()

    threading.Thread(target=wait, name="lease", daemon=True).start()
