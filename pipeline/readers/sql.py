"""Records in the tables of a database, while it grows or later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

from sqlalchemy import Connection, Row, Select, Table, select, tuple_

from pipeline.errors import SourceError
from pipeline.formats import tables
from pipeline.formats.tables import FRAMES, INSTANCES, MADE, RUNS
from pipeline.readers.contract import Records, Wanted, over
from pipeline.sinks.sql import Database

_FRAMES_AT_ONCE = 200
_POLL_S = 0.5
_BEGINNING = (-1, -1)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A connection to a database, over which it is asked."""

    connection: Connection
    database: Database

    def all(self, question: Select[Any]) -> list[Row[Any]]:
        """The answer as of now: a transaction of its own.

        Raises:
            NotSent: there is none.
        """
        with self.database.transaction(self.connection):
            return list(self.connection.execute(question).all())


def read_sqlite(wanted: Wanted) -> Records:
    """Of a database file, which is not written to."""
    from pipeline.sinks.sqlite import database_of

    return _records(wanted, database_of(str(wanted.target.path), read_only=True))


def read_postgresql(wanted: Wanted) -> Records:
    """Of a server.

    Raises:
        ConfigError: the password is not where the URL says.
    """
    from pipeline.sinks.postgresql import database_of
    from pipeline.sinks.services import place_of

    return _records(wanted, database_of(place_of(wanted.target), wanted.target.options["schema"]))


def _records(wanted: Wanted, database: Database) -> Records:
    """Yield the records of one run after the other, and of each what has come since."""
    last: dict[int, tuple[int, int]] = {}
    ended: set[int] = set()
    with over(database), closing(database.connect()) as connection:
        asked = _Asked(connection, database)
        _check_version(asked)
        while True:
            runs = _runs(asked, wanted.source)
            for run in runs:
                for found in _behind(asked, run, last.get(run.id, _BEGINNING)):
                    last[run.id] = found["epoch"], found["frame"]
                    yield found
                if run.end_record is not None and run.id not in ended:
                    ended.add(run.id)
                    yield json.loads(run.end_record)
            if not wanted.follow or (runs and all(run.id in ended for run in runs)):
                return
            yield None
            wanted.pause(_POLL_S)


def _check_version(asked: _Asked) -> None:
    versions = [row.version for row in asked.all(select(MADE.c.version))]
    if versions != [tables.VERSION]:
        version = versions[0] if versions else None
        raise SourceError(
            f"{asked.database.where}: cannot read records: its tables are of version {version}, "
            f"read are those of version {tables.VERSION}; read them with the version that wrote "
            "them"
        )


def _runs(asked: _Asked, source: str | None) -> list[Row[Any]]:
    question = select(RUNS).order_by(RUNS.c.id)
    if source is not None:
        question = question.where(RUNS.c.source == source)
    return asked.all(question)


def _behind(asked: _Asked, run: Row[Any], last: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """The records of a run behind a frame, some hundred at a time."""
    while True:
        behind = FRAMES.c.run_id == run.id, _place(FRAMES) > tuple_(*last)
        question = select(FRAMES).where(*behind).order_by(FRAMES.c.epoch, FRAMES.c.frame)
        frames = asked.all(question.limit(_FRAMES_AT_ONCE))
        if not frames:
            return
        first, last = _frame_of(frames[0]), _frame_of(frames[-1])
        inside = INSTANCES.c.run_id == run.id, _place(INSTANCES) >= tuple_(*first)
        question = select(INSTANCES).where(*inside, _place(INSTANCES) <= tuple_(*last))
        rows = asked.all(question.order_by(*INSTANCES.primary_key))
        found = {key: list(group) for key, group in groupby(rows, _frame_of)}
        for frame in frames:
            instances = [_mapping(row) for row in found.get(_frame_of(frame), [])]
            yield tables.record_of(_mapping(run), _mapping(frame), instances)


def _place(table: Table) -> Any:
    return tuple_(table.c.epoch, table.c.frame)


def _frame_of(row: Row[Any]) -> tuple[int, int]:
    return row.epoch, row.frame


def _mapping(row: Row[Any]) -> Mapping[str, Any]:
    """A row by the names of its columns."""
    return cast(Mapping[str, Any], row._mapping)
