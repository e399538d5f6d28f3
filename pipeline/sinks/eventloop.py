"""`EventLoop`: a thread in which an asynchronous client lives, also while nobody calls it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class EventLoop:
    """Runs until it is closed: a connection answers its heartbeats meanwhile."""

    def __init__(self, name: str) -> None:
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(_live(started)), name=name, daemon=True
        )
        self._thread.start()
        self._loop, self._left = started.result()

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Wait for what it returns or raises.

        Raises:
            TimeoutError: it did neither in time, and is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()

    def close(self) -> None:
        """Cancel what is under way and leave."""
        self._loop.call_soon_threadsafe(self._left.set)
        self._thread.join()


async def _live(started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    left = asyncio.Event()
    started.set_result((asyncio.get_running_loop(), left))
    await left.wait()
