"""What a stream may be told while it runs: plain values with a reason, picklable.

Whoever passes them on need not know them, and whoever obeys finds the reason in them: it is in the
log, and in the `End` of a stream that was told to end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from pipeline.stages import ModelInfo
from pipeline.stream.settings import SinkPlan, StreamSettings

_Corners: TypeAlias = tuple[tuple[float, float], ...]


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
class Suspend:
    """Take in no frames: a file waits, those of a camera are dropped as `paused`."""

    verb: ClassVar[str] = "pause"
    reason: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on after a pause; nothing to one that goes on."""

    verb: ClassVar[str] = "resume"
    reason: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Drain, and be forgotten by the run once all is finished."""

    verb: ClassVar[str] = "drain and go"
    reason: str


@dataclass(frozen=True, slots=True)
class Adjust:
    """Go on with other settings, from one frame on: what is in flight is published before."""

    verb: ClassVar[str] = "adjust"
    reason: str
    number: int
    """Of this run, so that it can be seen when it is done; a later one is larger."""
    settings: StreamSettings
    """All of them; `classes` is filled in where the labels of the model are known."""
    classes: tuple[str, ...] | None
    """Names of those to follow and publish; None for all."""
    include: tuple[_Corners, ...]
    ignore: tuple[_Corners, ...]
    sinks: tuple[SinkPlan, ...] | None = None
    """Those it is to have; of a name it has, it keeps the one there is. None: as they are."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Have another model segment what comes, from one frame on: what is in flight comes before."""

    verb: ClassVar[str] = "go on with another model"
    reason: str
    number: int
    """As of `Adjust`."""
    model: int
    """Its number in the run."""
    info: ModelInfo
    """Of it, as records are to name it."""
    known_as: str
    """What a checkpoint calls it."""


Command: TypeAlias = Drain | Leave | Suspend | Resume | Remove | Adjust | Switch


def still_wanted(told: Iterable[Command], command: Command) -> tuple[Command, ...]:
    """What of this and all that was told before holds for a stream that begins only now."""
    undone = (Suspend, Resume) if isinstance(command, Suspend | Resume) else type(command)
    left = tuple(one for one in told if not isinstance(one, undone))
    return left if isinstance(command, Resume) else (*left, command)


def why_ending(told: Iterable[Command]) -> str | None:
    """The reason of the last command that ends a stream; None: it was told to go on."""
    return next((one.reason for one in reversed(tuple(told)) if isinstance(one, ENDING)), None)


ENDING = (Drain, Leave, Remove)
