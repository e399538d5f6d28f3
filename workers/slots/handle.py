"""A worker as its slot sees it, and a question put to it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol


class Remote(Protocol):
    """A worker in another process."""

    address: Any
    """What other workers need to call it; may cross processes."""

    @property
    def node(self) -> str:
        """The machine it is on, by an id; empty where there is one alone."""

    @property
    def gone(self) -> str | None:
        """Why its machine was given up, whatever it may still do; None: it was not."""

    def call(self, method: str, *args: Any) -> Future[Any]:
        """Call a method and return at once; calls run in order."""

    def kill(self) -> None:
        """End the process, whatever it is doing; safe twice."""

    def reason(self, error: BaseException) -> str:
        """Why a call failed, in few words."""


@dataclass(slots=True)
class Asked:
    """A call under way."""

    future: Future[Any]
    at_s: float
    patience_s: float

    def overdue(self, now_s: float) -> bool:
        """Whether there is no answer yet though there should be."""
        return not self.future.done() and now_s - self.at_s > self.patience_s

    @property
    def failed(self) -> bool:
        """Whether there will be no answer."""
        return self.future.done() and self.future.exception() is not None

    def answer(self) -> Any:
        """The answer; None where there is none, or none yet."""
        return self.future.result() if self.future.done() and not self.failed else None
