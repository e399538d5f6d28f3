"""How long to wait before connecting again."""

from __future__ import annotations

import random


class Backoff:
    """Growing pauses between attempts, jittered so that many cameras do not come at once."""

    def __init__(self, first_s: float, most_s: float, *, rng: random.Random) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._rng = rng
        self.attempts = 0

    def next(self) -> float:
        """Seconds to wait before the next attempt, within 25 % of what is due."""
        due_s = min(self._first_s * 2.0 ** min(self.attempts, 30), self._most_s)
        self.attempts += 1
        return due_s * self._rng.uniform(0.75, 1.25)

    def reset(self) -> None:
        """Pictures have come."""
        self.attempts = 0
