"""What a stream may be told while it runs: plain values with a reason, picklable.

Whoever passes them on need not know them, and whoever obeys finds the reason in them: it is in the
log, and in the `End` of a stream that was told to end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class Drain:
    """Read no further, publish everything captured, finish the sinks."""

    verb: ClassVar[str] = "drain"
    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Drop what is in flight, close the sinks without an end."""

    verb: ClassVar[str] = "leave"
    reason: str
    cause: str = "aborted"
    """As what frames have failed that still wait for a segment worker."""


@dataclass(frozen=True, slots=True)
class Remove:
    """Drain, and be forgotten by the run once all is finished."""

    verb: ClassVar[str] = "drain and go"
    reason: str


Command: TypeAlias = Drain | Leave | Remove


def still_wanted(told: Iterable[Command], command: Command) -> tuple[Command, ...]:
    """What a stream has to be told that comes later than all that was told before."""
    return (*(one for one in told if one != command), command)


def why_ending(told: Iterable[Command]) -> str | None:
    """The reason of the last command that ends a stream; None: it was told to go on."""
    return next((one.reason for one in reversed(tuple(told)) if isinstance(one, ENDING)), None)


ENDING = (Drain, Leave, Remove)
