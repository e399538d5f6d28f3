"""What is said of a live source: a camera that is off for a week fills no disk with it."""

from __future__ import annotations

import logging

from pipeline.clock import Clock
from pipeline.sources.network.address import Address

log = logging.getLogger(__name__)

_IN_A_ROW, _EVERY_S = 5, 60.0
"""The same failure is logged so often, then once in so long."""


class News:
    """Logs what happens to one source, under its name and masked address.

    Args:
        source_id: its name.
        address: where it is.
        clock: seconds, monotonic.
    """

    def __init__(self, source_id: str, address: Address, clock: Clock) -> None:
        self._source_id, self._address = source_id, address
        self._clock = clock
        self._reason, self._times, self._at_s = "", 0, 0.0

    def say(self, level: int, what: str) -> None:
        """One line."""
        log.log(
            level,
            *("%s: %s: %s", self._source_id, self._address, what),
            extra={"source_id": self._source_id},
        )

    def fail(self, reason: str, more: str) -> None:
        """A failure and what follows; once it is no news any more only for who looks closely."""
        self.say(logging.WARNING if self._is_news(reason) else logging.DEBUG, f"{reason}{more}")

    def _is_news(self, reason: str) -> bool:
        now_s = self._clock()
        same = reason == self._reason
        self._times = self._times + 1 if same else 1
        if same and self._times > _IN_A_ROW and now_s - self._at_s < _EVERY_S:
            return False
        self._reason, self._at_s = reason, now_s
        return True
