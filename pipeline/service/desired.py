"""`Desired`: which streams there are to be, found by which model; kept in SQLite for a restart.

Two tables: `stream` is what is wanted now, `file` what the configuration file said when it was
last read. A file that has changed is applied as the difference of the two, so what was changed by
hand meanwhile stays. The same of the model, in the rows `wanted` and `file` of a third.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError

NAME = "service.sqlite"
VERSION = 2

_MODEL = """
CREATE TABLE model (said_by TEXT PRIMARY KEY, name TEXT, weights TEXT);
"""
_TABLES = """
CREATE TABLE stream (id TEXT PRIMARY KEY, spec TEXT NOT NULL, paused INTEGER NOT NULL,
                     changed_at REAL NOT NULL);
CREATE TABLE file (id TEXT PRIMARY KEY, spec TEXT NOT NULL);
"""
_STEPS = {0: _TABLES + _MODEL, 1: _MODEL}
"""What makes a file of each version one of this."""


@dataclass(frozen=True, slots=True)
class DesiredStream:
    """One stream that is to be there."""

    spec: Mapping[str, Any]
    """The keys of a source as in YAML, and its own `sinks`."""
    paused: bool = False

    @property
    def id(self) -> str:
        """Of its source."""
        return str(self.spec["id"])


@dataclass(frozen=True, slots=True)
class DesiredModel:
    """The model that is to find the instances, as under `model:` in YAML."""

    name: str | None
    weights: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What a configuration file says otherwise than it did, by id."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Desired:
    """The streams that are to be, in the order they came in; safe from any thread.

    Args:
        folder: made if it is missing, for its owner alone: URLs may hold passwords.

    Raises:
        ConfigError: the file cannot be opened, or is of another version.
    """

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, NAME)
        self._lock = threading.RLock()
        try:
            os.makedirs(folder, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"{self.path}: cannot keep the streams of the service there: {error}; "
                "name another run.state_dir"
            ) from error

    def streams(self) -> dict[str, DesiredStream]:
        """All of them, by id."""
        with self._lock:
            rows = self._db.execute("SELECT id, spec, paused FROM stream ORDER BY rowid").fetchall()
        return {name: DesiredStream(json.loads(spec), bool(paused)) for name, spec, paused in rows}

    def put(self, wanted: DesiredStream) -> None:
        """Add one, or replace that of its id; durable when this returns."""
        values = wanted.id, json.dumps(wanted.spec), wanted.paused, time.time()
        with self._lock:
            self._db.execute(
                "INSERT INTO stream VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "spec = excluded.spec, paused = excluded.paused, changed_at = excluded.changed_at",
                values,
            )

    def remove(self, source_id: str) -> None:
        """Forget one; nothing where there is none."""
        with self._lock:
            self._db.execute("DELETE FROM stream WHERE id = ?", (source_id,))

    def follow(self, specs: Mapping[str, Mapping[str, Any]]) -> Difference:
        """Take over what a configuration file says otherwise than at the last call.

        Args:
            specs: the streams it names now, by id.
        """
        with self._whole():
            before = dict(self._db.execute("SELECT id, spec FROM file").fetchall())
            now = {name: json.dumps(spec) for name, spec in specs.items()}
            added = tuple(name for name in now if name not in before)
            changed = tuple(n for n in now if n in before and before[n] != now[n])
            removed = tuple(name for name in before if name not in now)
            wanted = self.streams()
            for name in (*added, *changed):
                if name in added and name in wanted:
                    continue  # it was added by hand before the file named it
                self.put(DesiredStream(specs[name], name in wanted and wanted[name].paused))
            for name in removed:
                self.remove(name)
            self._db.execute("DELETE FROM file")
            self._db.executemany("INSERT INTO file VALUES (?, ?)", now.items())
        return Difference(added, changed, removed)

    def model(self) -> DesiredModel | None:
        """What was asked for while the service ran; None: what the file says."""
        return self._model_of("wanted")

    def model_or(self, written: DesiredModel) -> DesiredModel:
        """`model`, or else what the file says."""
        return self.model() or written

    def put_model(self, model: DesiredModel) -> None:
        """Replace it; durable when this returns."""
        self._put_model("wanted", model)

    def follow_model(self, written: DesiredModel) -> None:
        """Take over what a file says otherwise than at the last call; it holds then."""
        with self._whole():
            if self._model_of("file") != written:
                self._put_model("file", written)
                self._db.execute("DELETE FROM model WHERE said_by = 'wanted'")

    @property
    def file_model(self) -> DesiredModel | None:
        """What the file said when it was last read."""
        return self._model_of("file")

    def _model_of(self, who: str) -> DesiredModel | None:
        with self._lock:
            row = self._db.execute(
                "SELECT name, weights FROM model WHERE said_by = ?", (who,)
            ).fetchone()
        return None if row is None else DesiredModel(*row)

    def _put_model(self, who: str, model: DesiredModel) -> None:
        with self._lock:
            self._db.execute(
                "INSERT OR REPLACE INTO model VALUES (?, ?, ?)", (who, model.name, model.weights)
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """All that is done in the block, or nothing."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version in _STEPS:
            with self._whole():
                for statement in filter(str.strip, _STEPS[version].split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise ConfigError(
                f"{self.path}: is of version {version}, this maskstream knows {VERSION}; "
                "go on with the maskstream that wrote it, or move the file away"
            )
