"""`History`: what happened to streams and workers lately, noticed by looking again and again.

What comes and goes between two looks is not in it; logs and metrics are. Nothing here is kept over
a restart.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

KEPT = 500
"""Entries; the oldest go first."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a stream or worker is at one moment."""

    state: str
    detail: str | None = None
    """Why, where that is known; another reason is news."""
    remark: str | None = field(default=None, compare=False)
    """Why, as a camera answers. The first of a state is news: each attempt may have another."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened."""

    number: int
    """From 1, without holes."""
    at_s: float
    """Unix time at which it was noticed."""
    what: Literal["stream", "worker"]
    name: str
    was: str | None
    """State before; None: it was not there."""
    now: str | None
    """State since; None: it has gone."""
    detail: str | None


class History:
    """The last changes; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: deque[Change] = deque(maxlen=KEPT)
        self._number = 0
        self._before: dict[tuple[Literal["stream", "worker"], str], Standing] = {}

    def look(
        self, streams: Mapping[str, Standing], workers: Mapping[str, Standing], *, at_s: float
    ) -> None:
        """Note what is otherwise than at the last look, by name."""
        now: dict[tuple[Literal["stream", "worker"], str], Standing] = {}
        now |= {("stream", name): standing for name, standing in streams.items()}
        now |= {("worker", name): standing for name, standing in workers.items()}
        with self._lock:
            for what, name in [*self._before, *(key for key in now if key not in self._before)]:
                before, after = self._before.get((what, name)), now.get((what, name))
                if not _is_news(before, after):
                    continue
                self._number += 1
                self._changes.append(
                    Change(
                        number=self._number,
                        at_s=at_s,
                        what=what,
                        name=name,
                        was=None if before is None else before.state,
                        now=None if after is None else after.state,
                        detail=None if after is None else after.detail or after.remark,
                    )
                )
            self._before = now

    def since(self, number: int) -> list[Change]:
        """The changes behind the one of this number, as far as they are still there."""
        with self._lock:
            return [change for change in self._changes if change.number > number]


def _is_news(before: Standing | None, after: Standing | None) -> bool:
    if before is None or after is None or before != after:
        return True
    return before.remark is None and after.remark is not None
