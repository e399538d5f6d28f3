"""How much anybody may ask for: requests a second, bytes of a body, answers at one time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipeline.clock import Clock

_MOST_KEPT = 1024


@dataclass(frozen=True, slots=True)
class AccessLimits:
    """Of one service; what is beyond is answered at once and with a status that says so."""

    body_bytes: int = 64 << 10
    """Of one request (413)."""
    body_within_s: float = 10.0
    """For all of it (408)."""
    at_once: int = 384
    """Requests that look and are being answered, health apart (503). A page has one for each stream
    it shows, for hours: seven of fifty cameras."""
    changing_at_once: int = 32
    """The same of those that change something: who looks on keeps nobody from it."""
    changes: int = 100
    """Changing requests of one address in a row (429)..."""
    changes_per_s: float = 10.0
    """...and those that are added to it again."""
    wrong_tokens: int = 20
    """The same for tokens that are wrong."""
    wrong_tokens_per_s: float = 1.0


class Allowance:
    """So many in a row, then so many a second, for every address by itself; for one thread.

    Of addresses that nobody has come from for longest nothing is known any more, so what is kept
    is bounded.
    """

    def __init__(self, most: int, per_s: float, *, clock: Clock = time.monotonic) -> None:
        self._most, self._per_s, self._clock = most, per_s, clock
        self._left: dict[str, tuple[float, float]] = {}

    def takes(self, address: str) -> bool:
        """Whether one more is allowed, which is then counted."""
        now_s = self._clock()
        left, at_s = self._left.pop(address, (float(self._most), now_s))
        left = min(left + (now_s - at_s) * self._per_s, float(self._most))
        allowed = left >= 1
        self._left[address] = (left - 1 if allowed else left, now_s)
        if len(self._left) > _MOST_KEPT:
            del self._left[next(iter(self._left))]
        return allowed

    @property
    def retry_after_s(self) -> int:
        """When to ask again."""
        return max(1, round(1 / self._per_s))
