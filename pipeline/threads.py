"""A call in a thread of its own, for what may hang and then is left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")


def beside(call: Callable[[], T], *, name: str | None = None) -> Future[T]:
    """Begin a call in a thread beside, which nobody waits for at the end of the process.

    Args:
        call: what it returns or raises, whatever that is, is the answer.
        name: of the thread.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised where the answer is read
            answer.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return answer


def is_over(answer: Future[Any], wait_s: float | None = 0.0) -> bool:
    """Whether a call has come to its end, within this time; None: however long it takes."""
    return bool(wait([answer], wait_s).done)
