"""`Beside`: what is written to a disk that may be slow, while the stream goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from pipeline.threads import beside, is_over


class Beside:
    """One call at a time in a thread beside; what became of it is told in the stream's own."""

    def __init__(self) -> None:
        self._answer: Future[None] | None = None
        self._told: Callable[[OSError | None], None] = lambda _: None

    def start(self, call: Callable[[], None], told: Callable[[OSError | None], None]) -> None:
        """Begin a call; the one before has to be over.

        Args:
            call: writes something; OSError where that cannot be done.
            told: is given that, or None, by `over`.
        """
        self._told, self._answer = told, beside(call)

    def over(self, wait_s: float | None = 0.0) -> bool:
        """Whether no call goes on any more, within this time; None: however long it takes."""
        answer = self._answer
        if answer is None:
            return True
        if not is_over(answer, wait_s):
            return False
        self._answer = None
        error = answer.exception()
        if error is not None and not isinstance(error, OSError):
            raise error
        self._told(error)
        return True
