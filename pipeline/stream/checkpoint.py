"""What survives a crash: one small file per source, replaced whole.

A reader sees the old state or the new one, never a mixture. A state is written only after every
sink has made durable what the state claims.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.stages import Outcome, Position, Status
from pipeline.stream.capture import Mark

SCHEMA = "maskstream.checkpoint/2"


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
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> State:
        """The state `as_json` wrote."""
        ended = values["ended"]
        return State(
            sinks=values["sinks"],
            at=None if values["at"] is None else Mark.from_json(values["at"]),
            following=values["following"],
            published=values["published"],
            failed=values["failed"],
            ended=None
            if ended is None
            else Outcome(**{**ended, "status": Status(ended["status"])}),
        )


class Checkpoint:
    """The state of one source of one run.

    Args:
        path: the file; its folder is made at the first save.
        run: states of another run are not ours to continue.
        source_id: named in the file for people who look into it.
    """

    def __init__(self, path: Path, *, run: str, source_id: str) -> None:
        self.path = path
        self._run = run
        self._source_id = source_id

    def load(self, sinks: Collection[str]) -> State | None:
        """The last state saved; None when there is none, or it is of another run or other sinks.

        Raises:
            ConfigError: the file is there and cannot be read.
        """
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
            if values["schema"] != SCHEMA:
                raise ValueError(f"its schema is {values['schema']!r}, not {SCHEMA!r}")
            if values["run"] != self._run or set(values["sinks"]) != set(sinks):
                return None
            return State.from_json(values)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{self.path}: cannot read the checkpoint of {self._source_id!r}: {error}; "
                "delete it to start from the beginning"
            ) from error

    def save(self, state: State) -> None:
        """Replace the state, durable when this returns.

        Raises:
            OSError: it could not be written; the old state is untouched.
        """
        head = {"schema": SCHEMA, "run": self._run, "source": self._source_id}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(self.path.name + ".new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({**head, **state.as_json()}, file, separators=(",", ":"), allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # or the old name may be back after a power cut
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Forget the state: the next run starts from the beginning."""
        self.path.unlink(missing_ok=True)
