"""`Beside`: what is written to a disk that may be slow, while the stream goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future


class Beside:
    """One call at a time in a thread beside; what became of it is told in the stream's own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._answer: Future[None] = Future()
        self._told: Callable[[OSError | None], None] = lambda _: None

    def start(self, call: Callable[[], None], told: Callable[[OSError | None], None]) -> None:
        """Begin a call; the one before has to be over.

        Args:
            call: writes something; OSError where that cannot be done.
            told: is given that, or None, by `over`.
        """
        self._told, self._answer = told, Future()
        self._thread = threading.Thread(target=self._run, args=(call, self._answer), daemon=True)
        self._thread.start()

    def over(self, wait_s: float | None = 0.0) -> bool:
        """Whether no call goes on any more, within this time; None: however long it takes."""
        thread = self._thread
        if thread is None:
            return True
        thread.join(wait_s)
        if not self._answer.done():
            return False
        self._thread = None
        error = self._answer.exception()
        if error is not None and not isinstance(error, OSError):
            raise error
        self._told(error)
        return True

    @staticmethod
    def _run(call: Callable[[], None], answer: Future[None]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised, or told, where the answer is read
            answer.set_exception(error)
        else:
            answer.set_result(None)
