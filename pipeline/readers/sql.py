"""Records in the tables of a database, while it grows or later."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import groupby
from typing import Any, cast

from sqlalchemy import Connection, Engine, Row, Select, Table, select, tuple_
from sqlalchemy.exc import DBAPIError

from pipeline.errors import SourceError
from pipeline.formats import tables
from pipeline.formats.tables import FRAMES, INSTANCES, MADE, RUNS
from pipeline.readers.contract import Records, Wanted

_FRAMES_AT_ONCE = 200
_POLL_S = 0.5
_Told = Callable[[DBAPIError], Exception]
_BEGINNING = (-1, -1)


def read_sqlite(wanted: Wanted) -> Records:
    """Of a database file, which is not written to."""
    from pipeline.sinks import sqlite

    path = str(wanted.target.path)
    engine = sqlite.engine_of(path, read_only=True)
    return _records(wanted, engine, path, lambda error: sqlite.told(path, error))


def read_postgresql(wanted: Wanted) -> Records:
    """Of a server.

    Raises:
        ConfigError: the password is not where the URL says.
    """
    from pipeline.sinks import postgresql
    from pipeline.sinks.services import place_of

    place, schema = place_of(wanted.target), wanted.target.options["schema"]
    engine = postgresql.engine_of(place).execution_options(schema_translate_map={None: schema})
    return _records(
        wanted, engine, f"{place}/{place.path}", lambda error: postgresql.told(place, error)
    )


def _records(wanted: Wanted, engine: Engine, where: str, told: _Told) -> Records:
    """Yield the records of one run after the other, and of each what has come since."""
    last: dict[int, tuple[int, int]] = {}
    ended: set[int] = set()
    try:
        with closing(engine.connect()) as connection:
            _check_version(connection, where)
            while True:
                runs = _runs(connection, wanted.source)
                for run in runs:
                    for found in _behind(connection, run, last.get(run.id, _BEGINNING)):
                        last[run.id] = found["epoch"], found["frame"]
                        yield found
                    if run.end_record is not None and run.id not in ended:
                        ended.add(run.id)
                        yield json.loads(run.end_record)
                if not wanted.follow or (runs and all(run.id in ended for run in runs)):
                    return
                yield None
                wanted.pause(_POLL_S)
    except DBAPIError as error:
        raise SourceError(f"cannot read records: {told(error)}") from error
    finally:
        engine.dispose()


def _check_version(connection: Connection, where: str) -> None:
    with connection.begin():
        version = connection.scalar(select(MADE.c.version))
    if version != tables.VERSION:
        raise SourceError(
            f"{where}: cannot read records: its tables are of version {version}, read are those "
            f"of version {tables.VERSION}; read them with the version that wrote them"
        )


def _runs(connection: Connection, source: str | None) -> list[Row[Any]]:
    question = select(RUNS).order_by(RUNS.c.id)
    if source is not None:
        question = question.where(RUNS.c.source == source)
    return _all(connection, question)


def _behind(
    connection: Connection, run: Row[Any], last: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    """The records of a run behind a frame, some hundred at a time."""
    while True:
        behind = FRAMES.c.run_id == run.id, _place(FRAMES) > tuple_(*last)
        question = select(FRAMES).where(*behind).order_by(FRAMES.c.epoch, FRAMES.c.frame)
        frames = _all(connection, question.limit(_FRAMES_AT_ONCE))
        if not frames:
            return
        first, last = _frame_of(frames[0]), _frame_of(frames[-1])
        inside = INSTANCES.c.run_id == run.id, _place(INSTANCES) >= tuple_(*first)
        question = select(INSTANCES).where(*inside, _place(INSTANCES) <= tuple_(*last))
        rows = _all(connection, question.order_by(*INSTANCES.primary_key))
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


def _all(connection: Connection, question: Select[Any]) -> list[Row[Any]]:
    """The answer as of now: a transaction of its own."""
    with connection.begin():
        return list(connection.execute(question).all())
