"""`Tenure`: which driver has a place, and whether it still is that one.

A place has one driver at a time. Each takes a number that is one more than that of the driver
before, by making the file of that name, which only one of several can; so the highest number is the
driver, and whoever finds a higher one than its own has been replaced. Numbers are fencing tokens
(Kleppmann, Designing Data-Intensive Applications, chapter 8): whoever publishes for a driver looks
for a higher one first, at every checkpoint, and before a frame where the last look is long ago.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from pipeline.errors import MaskstreamError
from pipeline.state.disk import Disk

log = logging.getLogger(__name__)

SCHEMA = "maskstream.driver/1"
CONFIRM_S = 8.0
"""Nobody publishes who has not looked for so long whether its driver is still the one."""


class Replaced(MaskstreamError):
    """Another driver has the place by now: what was ours to write is its own."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a driver writes down of itself. Its text always has the same length."""

    token: str
    host: str
    pid: int
    boot: str
    """Of the machine: random, and another one after each start of it."""
    space: str
    """Of numbers of processes: a container on the same machine has one of its own."""
    began: str
    """When the process did, in ticks of the machine: numbers of processes come again."""
    since: str
    what: str
    """What it runs, in words."""
    beat: int = 0
    """Grows while it lives."""
    over: bool = False
    """It has ended, the place is free."""

    def dumps(self) -> bytes:
        """As JSON."""
        values = {"schema": SCHEMA, **asdict(self), "beat": f"{self.beat:012}"}
        return (json.dumps(values | {"over": int(self.over)}) + "\n").encode()

    @staticmethod
    def loads(data: bytes) -> Record | None:
        """What `dumps` wrote; None: it is torn, or of another version."""
        try:
            values = json.loads(data)
            values["beat"], values["over"] = int(values["beat"]), bool(values["over"])
            return Record(**{field.name: values[field.name] for field in fields(Record)})
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}, since {self.since}, {self.what}"


@dataclass(frozen=True, slots=True)
class Tenure:
    """One driver's time in a place; it travels with what has to be published for it."""

    folder: str
    """Of the drivers' files."""
    number: str
    token: str
    lasting: bool = False
    """The files of drivers that have ended stay, so that no number comes twice."""

    @property
    def path(self) -> str:
        """Of its own file."""
        return f"{self.folder}/{self.number}"

    def confirm(self, disk: Disk) -> None:
        """See that it goes on.

        Raises:
            Replaced: it is over; names who has the place now.
            OSError: that cannot be seen.
        """
        newer = disk.names(self.folder, behind=self.number)
        if self.lasting and not newer:
            return
        other = self._read(disk, newer[-1] if newer else self.number)
        if not newer and (other is None or other.token == self.token):
            return  # None: somebody has deleted the folder, which makes nobody a driver
        raise Replaced(
            f"{disk.shown(self.folder)}: this run was silent for too long, and another one has "
            f"taken its place: {other or 'it does not say which'}; this one ends and writes no more"
        )

    def _read(self, disk: Disk, number: str) -> Record | None:
        try:
            return Record.loads(disk.read(f"{self.folder}/{number}"))
        except FileNotFoundError:
            return None


def now() -> str:
    """The time of day, for people."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def end_process(line: str) -> None:
    """Say one line and end here: not even a file may be closed that another run has by now."""
    log.error("%s", line)
    os._exit(1)
