"""The bounded queue between two threads."""

import threading
from collections.abc import Callable

import pytest

from pipeline.buffers import FrameBuffer, WhenFull


def run_in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_items_come_out_in_the_order_they_went_in() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(3)
    assert all(buffer.put(i) for i in range(3))
    assert [buffer.get(), buffer.get(), buffer.get()] == [0, 1, 2]


def test_a_full_blocking_buffer_makes_put_wait_for_room() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(1)
    buffer.put(0)
    waits = threading.Event()
    blocked = run_in_thread(lambda: (waits.set(), buffer.put(1)))
    waits.wait()
    assert buffer.get() == 0
    assert buffer.get() == 1
    blocked.join(5)
    assert not blocked.is_alive()


def test_a_full_dropping_buffer_pushes_out_the_oldest_and_tells_of_it() -> None:
    dropped: list[int] = []
    buffer: FrameBuffer[int] = FrameBuffer(2, WhenFull.DROP_OLDEST, on_drop=dropped.append)
    assert all(buffer.put(i) for i in range(5))
    assert dropped == [0, 1, 2]
    assert [buffer.get(), buffer.get()] == [3, 4]


def test_close_frees_a_blocked_put_which_says_that_it_failed() -> None:
    lock = threading.RLock()
    buffer: FrameBuffer[int] = FrameBuffer(1, lock=lock)
    buffer.put(0)
    answers: list[bool] = []
    blocked = run_in_thread(lambda: answers.append(buffer.put(1)))
    while buffer.blocked == 0:
        pass  # it gets there at once; nothing tells when a thread has begun to wait
    buffer.close()
    blocked.join(5)
    assert answers == [False]
    assert buffer.blocked == 0


def test_close_frees_a_blocked_get() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(1)
    answers: list[int | None] = []
    blocked = run_in_thread(lambda: answers.append(buffer.get()))
    buffer.close()
    blocked.join(5)
    assert answers == [None]


def test_what_was_put_before_the_close_can_still_be_taken() -> None:
    buffer: FrameBuffer[str] = FrameBuffer(3)
    buffer.put("a")
    buffer.put("b")
    buffer.close()
    assert not buffer.put("c")
    assert list(buffer) == ["a", "b"]


@pytest.mark.parametrize("when_full", list(WhenFull))
def test_a_closed_buffer_takes_and_drops_nothing(when_full: WhenFull) -> None:
    dropped: list[int] = []
    buffer: FrameBuffer[int] = FrameBuffer(1, when_full, on_drop=dropped.append)
    buffer.put(0)
    buffer.close()
    assert not buffer.put(1)
    assert dropped == []
    assert buffer.clear() == [0]


def test_one_may_look_at_the_oldest_and_take_it_without_waiting() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(2)
    assert buffer.peek() is None
    assert buffer.poll() is None
    buffer.put(7)
    buffer.put(1)
    assert buffer.peek() == 7
    assert len(buffer) == 2
    assert buffer.poll() == 7
    assert buffer.peek() == 1


def test_changes_are_told_of() -> None:
    told: list[int] = []
    buffer: FrameBuffer[int] = FrameBuffer(2, on_change=lambda: told.append(len(buffer)))
    buffer.put(0)
    buffer.put(1)
    buffer.close()
    assert told == [1, 2, 2]


def test_a_capacity_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        FrameBuffer(0)
