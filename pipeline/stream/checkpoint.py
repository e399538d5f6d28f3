"""What survives a crash: one small file per source, replaced whole, and beside it one of numbers.

A reader sees the old state or the new one, never a mixture. A state is written only after every
sink has made durable what the state claims. The numbers of a camera are written before they are
used, whatever its sinks do, into a file that keeps its length: there is room on a full disk too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.clock import Clock
from pipeline.errors import ConfigError, in_one_line
from pipeline.state.disk import LOCAL, Disk
from pipeline.state.sealing import opened, sealed
from pipeline.state.tenure import CONFIRM_S, Replaced, Tenure, end_process
from pipeline.stream.standing import DAMAGED, SCHEMA, Numbers, State

log = logging.getLogger(__name__)

_ANY = "maskstream.checkpoint/"


@dataclass(frozen=True, slots=True)
class KnownSinks:
    """What a state says of the sinks it is of, by their names."""

    options: Mapping[str, str] = field(default_factory=dict)
    """How each writes; a state of other options is not ours."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Where each writes, as a hash: what is written elsewhere is another sink."""
    read: str = ""
    """How the files look that the output is made of; neither is a state of others."""


class Checkpoint:
    """The state of one source of one run.

    Args:
        path: the file; its folder is made at the first save.
        run: states of another run are not ours to continue.
        source_id: named in the file for people who look into it.
        known: see there.
        model: what finds the instances.
        lasting: False: nothing is kept once all is done.
        disk: where the file is; what it raises as `OSError` is raised by what is called here.
        tenure: of the driver the stream is published for; None: nobody else can take its place.
        replaced: told in one line where another driver has taken it; does not return.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        path: Path,
        *,
        run: str,
        source_id: str,
        known: KnownSinks | None = None,
        model: str = "",
        lasting: bool = True,
        disk: Disk = LOCAL,
        tenure: Tenure | None = None,
        replaced: Callable[[str], object] = end_process,
        clock: Clock = time.monotonic,
    ) -> None:
        self.path = path
        self.known = known or KnownSinks()
        """Of the sinks there are; they may change while a camera runs."""
        self.model = model
        self.lasting = lasting
        self.may_be_away = disk is not LOCAL
        """It is kept elsewhere, and what is asked of it may wait for an answer."""
        self._disk, self._tenure, self._replaced, self._clock = disk, tenure, replaced, clock
        self._confirmed_at_s = -math.inf
        self._numbers = path.with_suffix(".numbers")
        self._run = run
        self._source_id = source_id

    @property
    def shown(self) -> str:
        """The file as messages call it."""
        return self._disk.shown(str(self.path))

    @property
    def confirmed(self) -> bool:
        """Whether it was seen lately that what is published here is our driver's to publish."""
        return self._tenure is None or self._clock() - self._confirmed_at_s < CONFIRM_S

    def confirm(self) -> None:
        """See that no other driver has taken the place of ours.

        Raises:
            OSError: that cannot be seen.
        """
        asked_at_s = self._clock()
        try:
            if self._tenure is not None:
                self._tenure.confirm(self._disk)
        except Replaced as error:
            self._replaced(str(error))
            raise
        self._confirmed_at_s = asked_at_s

    def load(self, sinks: Collection[str]) -> State | None:
        """The last state saved; None when there is none, or it is of another run.

        Of a file it is none either where it is of other sinks. A camera goes on with those of its
        sinks that are in it, and begins the others.

        Raises:
            ConfigError: the file is there and cannot be read.
        """
        try:
            values = opened(self._disk.read(str(self.path)))
            if not str(values["schema"]).startswith(_ANY):
                raise ValueError(f"its schema is {values['schema']!r}, not {SCHEMA!r}")
            if not isinstance(values["sinks"], dict):
                raise TypeError("its sinks are no mapping")
            ours = self._ours(values, sinks)
            if values["run"] != self._run or (ours != set(sinks) and not values.get("live")):
                return None
            if ours != set(values["sinks"]) and not values.get("live"):
                return None
            if _version(values["schema"]) > _version(SCHEMA) and not values.get("live"):
                raise ValueError(f"it is of a newer maskstream, {values['schema']}: take that one")
            if self._differs(values, ours):
                return None
            state = self._state(values)
            return replace(state, sinks={name: state.sinks[name] for name in ours})
        except FileNotFoundError:
            return None
        except DAMAGED as error:
            raise self._refusal(self.path, error) from error

    @property
    def model_before(self) -> str | None:
        """What found the instances when it was saved, where that is another one now."""
        with contextlib.suppress(*DAMAGED):
            values = opened(self._disk.read(str(self.path)))
            before = values.get("model", self.model) if values["run"] == self._run else self.model
            return None if before == self.model else str(before)
        return None

    def begin(self, state: State) -> None:
        """The first state of a run, or of other output in the same: its numbers stay used.

        Raises:
            OSError: it could not be written.
        """
        used = None
        with contextlib.suppress(ConfigError):  # told where numbers are asked for
            used = self.used()
            if self.reserved() is None:
                self._disk.remove(str(self._numbers))
        self.save(replace(state, numbers=used))

    def used(self) -> Numbers | None:
        """What this run has left to use, whatever its output was; None: it has used none.

        Raises:
            ConfigError: a file is there and cannot be read.
        """
        reserved, noted = self.reserved(), None
        try:
            values = opened(self._disk.read(str(self.path)))
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
            data = self._disk.read(str(self._numbers))
            values = opened(data) if data else None  # else none was reserved yet
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
        about = {**asdict(self.known), "model": self.model}
        values = {**head, **about, **state.as_json()}
        data = json.dumps(values, separators=(",", ":"), allow_nan=False)
        self.confirm()
        self._disk.replace(str(self.path), sealed(data))

    def reserve(self, numbers: Numbers) -> None:
        """Write down that numbers before these may be used, durable when this returns.

        Raises:
            OSError: it could not be written.
        """
        text = ", ".join(f'"{name}": {value:>20}' for name, value in asdict(numbers).items())
        text += f', "run": {json.dumps(self._run)}'
        path, data = str(self._numbers), sealed(f"{{{text}}}") + b"\n"
        self.confirm()
        try:
            self._disk.write_over(path, data)
        except FileNotFoundError:
            if not self._disk.make(path, data):
                raise

    def discard(self) -> None:
        """Forget the state: the output is begun anew. The numbers of a run stay used."""
        used = None
        with contextlib.suppress(ConfigError):
            used = self.used()
        if used is not None:
            with contextlib.suppress(OSError):  # then it stands as it was, and is of other output
                self.save(State({}, numbers=used))
            return
        self._disk.remove(str(self.path))
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
        what = f"cannot read the checkpoint of {self._source_id!r}: {reason}"
        if isinstance(error, OSError) and self.may_be_away:
            return ConfigError(f"{self._disk.shown(str(path))}: {what}; nothing was touched")
        beside = (self.path.with_suffix(end) for end in (".json", ".numbers", ".run"))
        there = self._disk.names(str(path.parent))
        others = (self._disk.shown(str(o)) for o in beside if o != path and o.name in there)
        more = "".join(f" and {other}" for other in others)
        return ConfigError(
            f"{self._disk.shown(str(path))}: {what}; delete it{more} to start from the beginning"
        )

    @property
    def known_before(self) -> KnownSinks:
        """Of the sinks of a camera when it was saved, whichever it has now."""
        with contextlib.suppress(*DAMAGED):
            values = opened(self._disk.read(str(self.path)))
            if values["run"] == self._run and values["live"]:
                return KnownSinks(dict(values["options"]), dict(values["places"]))
        return KnownSinks()

    def _ours(self, values: Mapping[str, Any], sinks: Collection[str]) -> set[str]:
        """Those of the sinks that a state is of; one of an older version says no places."""
        places = values.get("places", {})
        there = set(values["sinks"]).intersection(sinks)
        return {n for n in there if places.get(n) in (None, self.known.places.get(n))}

    def _differs(self, values: Mapping[str, Any], ours: Collection[str]) -> bool:
        """Whether what is there would not be continued in its own manner; told."""
        now = self.known
        options = values.get("options", now.options)
        changes = [
            (f"sink {name}", options.get(name), manner)
            for name, manner in now.options.items()
            if name in ours and options.get(name) != manner
        ]
        if (read := values.get("read", now.read)) != now.read:
            changes.append(("what is read", read, now.read))
        for change in changes:
            log.error(  # with --quiet too: it is why output that is there is refused
                "%s: %s was %s and is %s now; what is there is not continued",
                *(self._source_id, *change),
                extra={"source_id": self._source_id},
            )
        return bool(changes)


def _version(schema: str) -> int:
    return int(schema.removeprefix(_ANY))
