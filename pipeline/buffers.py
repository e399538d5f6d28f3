"""`FrameBuffer`: the one bounded queue between two threads; says what happens when it is full."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class WhenFull(StrEnum):
    """What `put` does when there is no room."""

    BLOCK = "block"
    """Wait for room: files, where every frame counts."""
    DROP_OLDEST = "drop_oldest"
    """Make room: cameras, where the newest wins."""


class FrameBuffer(Generic[T]):
    """A bounded first-in-first-out queue that can be closed from either side.

    Args:
        capacity: items it holds at most, from 1.
        when_full: what a `put` without room does.
        on_drop: called with each item `DROP_OLDEST` pushes out, inside the lock.
        on_change: called after every put and close, inside the lock.
        lock: shared with others whose state changes together with this one's.
    """

    def __init__(
        self,
        capacity: int,
        when_full: WhenFull = WhenFull.BLOCK,
        *,
        on_drop: Callable[[T], None] | None = None,
        on_change: Callable[[], None] | None = None,
        lock: threading.RLock | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"FrameBuffer.capacity must be at least 1, got {capacity}")
        self._capacity = capacity
        self.when_full = when_full
        """May be changed until the first put."""
        self._on_drop = on_drop
        self._on_change = on_change
        self._changed = threading.Condition(lock)
        self._items: deque[T] = deque()
        self._blocked = 0
        self._closed = False

    def __len__(self) -> int:
        """Items inside."""
        with self._changed:
            return len(self._items)

    @property
    def blocked(self) -> int:
        """Items whose `put` waits for room."""
        return self._blocked

    @property
    def closed(self) -> bool:
        """Whether nothing can be put any more."""
        return self._closed

    def put(self, item: T) -> bool:
        """Add an item; False when the buffer is closed, at once or while waiting for room.

        The caller must stop on False: nothing will ever be taken again.
        """
        with self._changed:
            if self.when_full is WhenFull.BLOCK:
                self._wait_for_room()
            elif len(self._items) >= self._capacity and not self._closed:
                oldest = self._items.popleft()
                if self._on_drop is not None:
                    self._on_drop(oldest)
            if self._closed:
                return False
            self._items.append(item)
            self._tell()
            return True

    def get(self) -> T | None:
        """Wait for the oldest item; None once the buffer is closed and empty."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            return self._pop() if self._items else None

    def peek(self) -> T | None:
        """The oldest item, left where it is; None when there is none."""
        with self._changed:
            return self._items[0] if self._items else None

    def poll(self) -> T | None:
        """The oldest item, taken out; None when there is none."""
        with self._changed:
            return self._pop() if self._items else None

    def clear(self) -> list[T]:
        """Take everything out."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return items

    def close(self) -> None:
        """Refuse further puts and free whoever waits; what is inside can still be taken."""
        with self._changed:
            self._closed = True
            self._tell()

    def __iter__(self) -> Iterator[T]:
        """Items as they come, until the buffer is closed and empty."""
        while (item := self.get()) is not None:
            yield item

    def _wait_for_room(self) -> None:
        while len(self._items) >= self._capacity and not self._closed:
            self._blocked += 1
            try:
                self._changed.wait()
            finally:
                self._blocked -= 1

    def _pop(self) -> T:
        item = self._items.popleft()
        self._changed.notify_all()
        return item

    def _tell(self) -> None:
        self._changed.notify_all()
        if self._on_change is not None:
            self._on_change()
