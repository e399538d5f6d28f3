"""`Pausing`: whether a stream takes frames in at the moment."""

from __future__ import annotations

import threading


class Pausing:
    """Looked at by the thread that reads, told by any.

    A file waits: its next frame is the one that comes when it goes on. A camera is read on, so
    that its connection lives and its newest frame is new, and its frames are counted as dropped.
    """

    CAUSE = "paused"

    def __init__(self) -> None:
        self.drops = True
        """Frames that come meanwhile are dropped; else the reader waits. Set before it reads."""
        self._goes_on = threading.Event()
        self._goes_on.set()

    @property
    def paused(self) -> bool:
        """Whether no frame is taken in."""
        return not self._goes_on.is_set()

    def pause(self) -> None:
        """Take in no more frames."""
        self._goes_on.clear()

    def resume(self) -> None:
        """Go on; who waits is freed."""
        self._goes_on.set()

    def wait(self) -> None:
        """Hold the reader back while it is to wait."""
        if not self.drops:
            self._goes_on.wait()
