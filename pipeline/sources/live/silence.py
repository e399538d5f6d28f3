"""How long a connection to a live source may give nothing."""

from __future__ import annotations

from dataclasses import dataclass

_STALLED_INTERVALS = 5


@dataclass(frozen=True, slots=True)
class Silence:
    """Limits in seconds; slow streams get more, by the interval between their pictures."""

    connect_s: float
    """For the first picture of a connection."""
    read_s: float
    """Without a picture for so long the connection is given up."""
    stall_s: float
    """Without a picture for so long it counts as stalled."""

    @classmethod
    def of(cls, open_timeout_s: float, read_timeout_s: float, stall_timeout_s: float) -> Silence:
        """From the settings: connecting and the first look have a time-out each."""
        connect_s = 2 * open_timeout_s + read_timeout_s
        return cls(connect_s, read_timeout_s, min(stall_timeout_s, read_timeout_s))

    def limit_s(self, interval_s: float, *, fresh: bool) -> float:
        """After which a connection is given up; `fresh`: it has given no picture yet."""
        return max(self.connect_s if fresh else self.read_s, 2 * interval_s)

    def stalled_s(self, interval_s: float) -> float:
        """After which it counts as stalled."""
        return max(self.stall_s, _STALLED_INTERVALS * interval_s)
