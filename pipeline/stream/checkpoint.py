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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, in_one_line
from pipeline.reading import read_small
from pipeline.stream.standing import DAMAGED, SCHEMA, Numbers, State

log = logging.getLogger(__name__)

_ANY = "maskstream.checkpoint/"
_LARGEST = 64 << 20


class Checkpoint:
    """The state of one source of one run.

    Args:
        path: the file; its folder is made at the first save.
        run: states of another run are not ours to continue.
        source_id: named in the file for people who look into it.
        options: how each sink writes, by its name; a state of other options is not ours either.
        read: how the files look that the output is made of; neither is a state of others.
        model: what finds the instances.
        lasting: False: nothing is kept once all is done.
    """

    def __init__(
        self,
        path: Path,
        *,
        run: str,
        source_id: str,
        options: Mapping[str, str] | None = None,
        read: str = "",
        model: str = "",
        lasting: bool = True,
    ) -> None:
        self.path = path
        self.model = model
        self.lasting = lasting
        self._numbers = path.with_suffix(".numbers")
        self._run = run
        self._source_id = source_id
        self._options = dict(options or {})
        self._read = read

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
            if self._differs(values):
                return None
            return self._state(values)
        except FileNotFoundError:
            return None
        except DAMAGED as error:
            raise self._refusal(self.path, error) from error

    @property
    def model_before(self) -> str | None:
        """What found the instances when it was saved, where that is another one now."""
        with contextlib.suppress(*DAMAGED):
            values = json.loads(read_small(self.path, max_bytes=_LARGEST))
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
        about = {"options": self._options, "read": self._read, "model": self.model}
        values = {**head, **about, **state.as_json()}
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

    def _differs(self, values: Mapping[str, Any]) -> bool:
        """Whether what is there would not be continued in its own manner; told."""
        options = values.get("options", self._options)
        changes = [
            (f"sink {name}", options.get(name), now)
            for name, now in self._options.items()
            if options.get(name) != now
        ]
        if (read := values.get("read", self._read)) != self._read:
            changes.append(("what is read", read, self._read))
        for change in changes:
            log.error(  # with --quiet too: it is why output that is there is refused
                "%s: %s was %s and is %s now; what is there is not continued",
                *(self._source_id, *change),
                extra={"source_id": self._source_id},
            )
        return bool(changes)

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # or the old name may be back after a power cut
        finally:
            os.close(folder)
