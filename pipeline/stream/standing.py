"""Where a stream stands between two frames: what its checkpoint says, as values and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pipeline.stages import Outcome, Position, Status
from pipeline.stream.capture import Mark

SCHEMA = "maskstream.checkpoint/2"

DAMAGED = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What comes of reading a file that is torn, of another version, or not to be read."""

AHEAD = 1000
"""Numbers of frames and of tracks a camera takes in advance. After a crash so many are left out:
what was published stays, and none of its numbers is used twice."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The first of each kind that is certainly not used yet."""

    epoch: int
    index: int
    track: int

    def beyond(self, other: Numbers) -> Numbers:
        """Not used by either."""
        return Numbers(
            max(self.epoch, other.epoch),
            max(self.index, other.index),
            max(self.track, other.track),
        )


@dataclass(frozen=True, slots=True)
class State:
    """Where a stream stands between two frames."""

    sinks: Mapping[str, Position | None]
    """Each sink's position; None before the first flush."""
    at: Mark | None = None
    """The last frame that was settled; None before the first."""
    following: Mapping[str, Any] | None = None
    """Tracks and camera after it."""
    published: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    ended: Outcome | None = None
    """Set once everything is written and closed: there is nothing to resume."""
    numbers: Numbers | None = None
    """What a camera may go on using; None before the first frame."""
    live: bool | None = None
    """Whether its frames do not come twice; None: it does not say."""
    refused: str | None = None
    """Why it does not say how far a file has come: it is of another version."""

    @property
    def of_camera(self) -> bool:
        """Whether it is a camera's: its frames do not come twice, so tracks are not kept."""
        settled = self.at is not None or self.ended is not None
        return settled and self.following is None and self.refused is None

    def as_json(self) -> dict[str, Any]:
        """As JSON values, exact."""
        ended = self.ended
        return {
            "sinks": dict(self.sinks),
            "at": None if self.at is None else asdict(self.at),
            "following": self.following,
            "published": self.published,
            "failed": dict(self.failed),
            "ended": None if ended is None else {**asdict(ended), "status": str(ended.status)},
            "numbers": None if self.numbers is None else asdict(self.numbers),
            "live": self.live,
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> State:
        """The state `as_json` wrote, or another version: of that, what all of them say."""
        ended = values["ended"]
        state = State(
            sinks=values["sinks"],
            ended=None
            if ended is None
            else Outcome(**{**ended, "status": Status(ended["status"])}),
            numbers=_numbers_in(values),
            live=values.get("live"),
        )
        try:
            return replace(
                state,
                at=None if values["at"] is None else Mark.from_json(values["at"]),
                following=values["following"],
                published=values["published"],
                failed=values["failed"],
            )
        except DAMAGED:
            if values["schema"] == SCHEMA:
                raise
            return replace(state, refused=f"it is {values['schema']}, not {SCHEMA}")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins to read."""

    after: Mark | None = None
    """A file goes on behind this frame; it has to show it first."""
    counting: dict[str, int] | None = None
    """A camera's first epoch and frame number; None: from 0."""
    cut: Callable[[], None] | None = None
    """Brings the sinks back to where they stood; to be called once the source is known to be the
    same, before anything is written."""


def _numbers_in(values: Mapping[str, Any]) -> Numbers | None:
    """What is left to use; where it does not say so, what cannot have been used."""
    if (numbers := values.get("numbers")) is not None:
        return Numbers(**numbers)
    if (at := values["at"]) is None:
        return None
    tracker = (values.get("following") or {}).get("tracker") or {}
    ahead = 0 if values["ended"] else AHEAD
    return Numbers(at["epoch"] + 1, at["index"] + 1 + ahead, tracker.get("next_id", 1) + ahead)
