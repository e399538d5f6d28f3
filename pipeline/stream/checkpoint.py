"""What survives a crash: one small file per source, replaced whole, and beside it one of numbers.

A reader sees the old state or the new one, never a mixture. A state is written only after every
sink has made durable what the state claims. The numbers of a camera are written before they are
used, whatever its sinks do, into a file that keeps its length: there is room on a full disk too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, in_one_line
from pipeline.reading import read_small
from pipeline.stages import Outcome, Position, Status
from pipeline.stream.capture import Mark

log = logging.getLogger(__name__)

SCHEMA = "maskstream.checkpoint/2"
_ANY = "maskstream.checkpoint/"
_LARGEST = 64 << 20

DAMAGED = (OSError, ValueError, TypeError, KeyError, AttributeError)
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


def _numbers_in(values: Mapping[str, Any]) -> Numbers | None:
    """What is left to use; where it does not say so, what cannot have been used."""
    if (numbers := values.get("numbers")) is not None:
        return Numbers(**numbers)
    if (at := values["at"]) is None:
        return None
    tracker = (values.get("following") or {}).get("tracker") or {}
    ahead = 0 if values["ended"] else AHEAD
    return Numbers(at["epoch"] + 1, at["index"] + 1 + ahead, tracker.get("next_id", 1) + ahead)


class Checkpoint:
    """The state of one source of one run.

    Args:
        path: the file; its folder is made at the first save.
        run: states of another run are not ours to continue.
        source_id: named in the file for people who look into it.
        options: how each sink writes, by its name; a state of other options is not ours either.
        lasting: False: nothing is kept once all is done.
    """

    def __init__(
        self,
        path: Path,
        *,
        run: str,
        source_id: str,
        options: Mapping[str, str] | None = None,
        lasting: bool = True,
    ) -> None:
        self.path = path
        self.lasting = lasting
        self._numbers = path.with_suffix(".numbers")
        self._run = run
        self._source_id = source_id
        self._options = dict(options or {})

    def load(self, sinks: Collection[str]) -> State | None:
        """The last state saved; None when there is none, or it is of another run or other sinks.

        Raises:
            ConfigError: the file is there and cannot be read.
        """
        try:
            values = json.loads(read_small(self.path, max_bytes=_LARGEST))
            if not str(values["schema"]).startswith(_ANY):
                raise ValueError(f"its schema is {values['schema']!r}, not {SCHEMA!r}")
            if not isinstance(values["sinks"], dict):
                raise TypeError("its sinks are no mapping")
            if values["run"] != self._run or set(values["sinks"]) != set(sinks):
                return None
            if (before := values.get("options", self._options)) != self._options:
                self._tell_change(before)
                return None
            return self._state(values)
        except FileNotFoundError:
            return None
        except DAMAGED as error:
            raise self._refusal(self.path, error) from error

    def begin(self, state: State) -> None:
        """The first state of a run, or of other output in the same: its numbers stay used.

        Raises:
            OSError: it could not be written.
        """
        used = None
        with contextlib.suppress(ConfigError):  # told where numbers are asked for
            used = self.used()
            if self.reserved() is None:
                self._numbers.unlink(missing_ok=True)
        self.save(replace(state, numbers=used))

    def used(self) -> Numbers | None:
        """What this run has left to use, whatever its output was; None: it has used none.

        Raises:
            ConfigError: a file is there and cannot be read.
        """
        reserved, noted = self.reserved(), None
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
            if values["run"] == self._run and values.get("numbers") is not None:
                noted = Numbers(**values["numbers"])
        except FileNotFoundError:
            pass
        except DAMAGED as error:
            raise self._refusal(self.path, error) from error
        return noted if reserved is None else reserved.beyond(noted or reserved)

    def reserved(self) -> Numbers | None:
        """What this run has left to use; None: it has used none.

        Raises:
            ConfigError: the file is there and cannot be read.
        """
        try:
            text = read_small(self._numbers, max_bytes=_LARGEST).decode("ascii")
            values = json.loads(text) if text else None  # else none was reserved yet
            if values is None or values.pop("run", self._run) != self._run:
                return None
            return Numbers(**values)
        except FileNotFoundError:
            return None
        except DAMAGED as error:
            raise self._refusal(self._numbers, error) from error

    def save(self, state: State) -> None:
        """Replace the state, durable when this returns.

        Raises:
            OSError: it could not be written; the old state is untouched.
        """
        head = {"schema": SCHEMA, "run": self._run, "source": self._source_id}
        values = {**head, "options": self._options, **state.as_json()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            fresh.unlink(missing_ok=True)  # a link or a pipe would lead somewhere else
            with fresh.open("x", encoding="utf-8") as file:
                json.dump(values, file, separators=(",", ":"), allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self.path)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        self._sync_folder()

    def reserve(self, numbers: Numbers) -> None:
        """Write down that numbers before these may be used, durable when this returns.

        Raises:
            OSError: it could not be written.
        """
        text = ", ".join(f'"{name}": {value:>20}' for name, value in asdict(numbers).items())
        text += f', "run": {json.dumps(self._run)}'
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._numbers, flags, 0o666)
        try:
            fresh = os.fstat(fd).st_size == 0
            os.pwrite(fd, f"{{{text}}}\n".encode(), 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        if fresh:
            self._sync_folder()

    def discard(self) -> None:
        """Forget the state: the output is begun anew. The numbers of a run stay used."""
        used = None
        with contextlib.suppress(ConfigError):
            used = self.used()
        if used is not None:
            with contextlib.suppress(OSError):  # then it stands as it was, and is of other output
                self.save(State({}, numbers=used))
            return
        self.path.unlink(missing_ok=True)
        if not self.lasting:
            with contextlib.suppress(OSError):  # others have theirs there
                self.path.parent.rmdir()

    def _state(self, values: Mapping[str, Any]) -> State:
        state = State.from_json(values)
        if (reserved := self.reserved()) is None:
            return state
        return replace(state, numbers=reserved.beyond(state.numbers or reserved))

    def _refusal(self, path: Path, error: Exception) -> ConfigError:
        """Going on without it would write over what was published, or use numbers twice."""
        reason = error.strerror if isinstance(error, OSError) else in_one_line(error)
        beside = (self.path.with_suffix(end) for end in (".json", ".numbers", ".run"))
        more = "".join(f" and {other}" for other in beside if other != path and other.exists())
        return ConfigError(
            f"{path}: cannot read the checkpoint of {self._source_id!r}: {reason}; delete it{more} "
            "to start from the beginning"
        )

    def _tell_change(self, before: Mapping[str, str]) -> None:
        for name, now in self._options.items():
            if before.get(name) != now:
                log.warning(
                    "%s: sink %s was %s and is %s now; what is there is not continued",
                    *(self._source_id, name, before.get(name), now),
                    extra={"source_id": self._source_id},
                )

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # or the old name may be back after a power cut
        finally:
            os.close(folder)
