"""How long to wait before connecting again."""

from __future__ import annotations

import random

_PATIENT_S = 30.0
"""Between attempts when asking again soon is pointless: a wrong password locks accounts."""
_DOUBTED = 2
"""Refusals in a row not taken for final of what has worked before: a camera that starts up answers
nonsense for a while, and a damaged answer reads like a refusal."""


class Backoff:
    """Growing pauses between attempts, jittered so that many cameras do not come at once."""

    def __init__(self, first_s: float, most_s: float, *, rng: random.Random) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._rng = rng
        self.attempts = 0
        self._refusals = 0

    def next(self) -> float:
        """Seconds to wait before the next attempt, within 25 % of what is due."""
        due_s = min(self._first_s * 2.0 ** min(self.attempts, 30), self._most_s)
        self.attempts += 1
        return due_s * self._rng.uniform(0.75, 1.25)

    def pause_s(self, *, refused: bool, worked: bool, waited_s: float) -> float:
        """Seconds to wait before the next attempt, once one has failed.

        Args:
            refused: asking again soon is pointless.
            worked: there have been pictures, at some time.
            waited_s: how long the attempt took, where it gave no picture: it has waited already.
        """
        due_s = self.next()
        delay_s = max(due_s - waited_s, due_s / 5)  # never together with all the others
        self._refusals = self._refusals + 1 if refused else 0
        if refused and (not worked or self._refusals > _DOUBTED):
            delay_s = max(delay_s, _PATIENT_S)
        return delay_s

    def answered(self) -> None:
        """A picture has come: refusals count anew; the pauses only after `reset`."""
        self._refusals = 0

    def reset(self) -> None:
        """Pictures have come for a while."""
        self.attempts = 0
