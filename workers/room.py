"""`StoreRoom`: bytes under way between machines, and how many may be. Pure.

A picture lies in the shared memory of the machine it is sent from, and of the one it is sent to,
until it is answered. Where that memory is full Ray writes to the disk, and everything waits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

FOR_FRAMES = 0.5
"""Of the shared memory of a machine; the rest is for weights, answers and what is let go of."""


@dataclass(slots=True)
class StoreRoom:
    """What one process may have under way.

    Args:
        here: its own machine.
    """

    here: str = ""
    most: Mapping[str, float] = field(default_factory=dict)
    """Bytes by machine; one that is not named has no bound."""
    _under_way: Counter[str] = field(default_factory=Counter)

    def left(self, there: str) -> float:
        """Bytes that may be sent to a machine now."""
        return min(self.most.get(n, math.inf) - self._under_way[n] for n in (self.here, there))

    def has(self, there: str, size: int) -> bool:
        """Whether so many bytes may be; where nothing is under way any frame may."""
        if not self.most:
            return True
        taken = any(self._under_way[node] for node in (self.here, there))
        return not taken or size <= self.left(there)

    def sent(self, there: str, size: int) -> None:
        """So many bytes are on their way."""
        for node in {self.here, there}:
            self._under_way[node] += size

    def back(self, there: str, size: int) -> None:
        """So many bytes lie there no more."""
        for node in {self.here, there}:
            self._under_way[node] -= size


def shared_out(
    stores: Mapping[str, float], streams: Mapping[str, int], segments: Collection[str]
) -> dict[str, float]:
    """Bytes that each stream worker may have under way, by machine.

    Args:
        stores: bytes of shared memory of each machine.
        streams: how many stream workers are on each.
        segments: the machines with segment workers: there frames of all streams may lie, elsewhere
            only those that are sent from there.
    """
    everybody = sum(streams.values())
    sharing = {node: everybody if node in segments else streams.get(node, 0) for node in stores}
    return {node: FOR_FRAMES * size / max(1, sharing[node]) for node, size in stores.items()}
