"""How a kit says that a promise was broken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


def promised(kept: object, text: str) -> None:
    """Go on where a promise was kept.

    Raises:
        AssertionError: with `text`, the promise and what came instead.
    """
    if not kept:
        raise AssertionError(text)


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """The block may take so long.

    Raises:
        AssertionError: it took longer; `what` says what did.
    """
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    promised(took <= seconds, f"{what} took {took:.1f} s; it may take {seconds:g} s")
