"""A thread that reads one connection and can be left behind when it does not come back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

from pipeline.buffers import FrameBuffer
from pipeline.errors import SourceError
from pipeline.leaving import ended_at_exit
from pipeline.secrets import scrub

log = logging.getLogger(__name__)

T = TypeVar("T")
_AHEAD = 4
"""Pictures a reader may be ahead; a buffer above decides which are dropped."""
_PATIENCE_S = 1.0
"""What the end of the interpreter waits for a read that hangs."""


class Reader(Generic[T]):
    """Runs an iterator in a thread of its own and hands over what it yields.

    Args:
        items: called in the thread; its iteration may block as long as it has to.
        name: of the thread.
        wake: set whenever there is something to `take` or the end is reached.
    """

    def __init__(
        self, items: Callable[[], Iterator[T]], *, name: str, wake: threading.Event
    ) -> None:
        self.error: SourceError | None = None
        """Why it ended; None when the iterator came to its end. Read it once `ended`."""
        self._items = items
        self._handed: FrameBuffer[T] = FrameBuffer(_AHEAD, on_change=wake.set)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        ended_at_exit(self)

    @property
    def ended(self) -> bool:
        """Whether nothing more comes; what was handed over can still be taken."""
        return self._handed.closed

    @property
    def alive(self) -> bool:
        """Whether the thread is still there."""
        return self._thread.is_alive()

    def take(self) -> T | None:
        """The next item if there is one; never waits."""
        return self._handed.poll()

    def leave(self) -> None:
        """Want nothing more from it; the thread ends when its read returns, by its own limits."""
        self._handed.close()
        self._handed.clear()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread, though never long; False when its read has not returned."""
        self._thread.join(min(timeout_s, _PATIENCE_S))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            items = self._items()
            for item in items:
                if not self._handed.put(item):
                    if isinstance(items, Generator):
                        items.close()
                    return
        except SourceError as error:
            self.error = _bare(error)
        except BaseException as error:
            log.exception("a reader failed")
            self.error = SourceError(scrub(f"{type(error).__name__}: {error}"))
        finally:
            self._handed.close()


def _bare(error: SourceError) -> SourceError:
    """The error without the frames it passed through: they hold the connection and its memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
