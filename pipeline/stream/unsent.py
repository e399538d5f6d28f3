"""`Unsent`: states that may not be written down yet: what they claim lies on this machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.delivery.publisher import Publisher
from pipeline.stream.standing import State

_MOST = 64


class Unsent:
    """What waits for a service does so in a spool, which another machine does not have.

    So where a state is kept elsewhere, that of a file claims what services have taken: it waits
    here until they have, and the newest of those that need wait no more is written down.

    Args:
        publisher: knows what services have taken.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._states: deque[tuple[State, Mapping[str, int]]] = deque()

    def add(self, state: State) -> None:
        """It claims all that services were handed so far."""
        if len(self._states) == _MOST:  # a service is away for long: every second one does
            self._states = deque(list(self._states)[1::2])
        self._states.append((state, self._publisher.handed()))

    def ready(self) -> State | None:
        """The newest that need not wait any more; None: there is no new one."""
        found = None
        while self._states and self._publisher.have_taken(self._states[0][1]):
            found, _ = self._states.popleft()
        if found is None:
            return None
        return replace(found, sinks={name: _taken(one) for name, one in found.sinks.items()})


def _taken(position: Any) -> Any:
    """A position of which nothing waits any more; one that wraps another nests its position."""
    if not isinstance(position, dict):
        return position
    values = {key: _taken(value) for key, value in position.items()}
    return values | ({"waiting": 0} if "accepted" in values and "waiting" in values else {})
