"""What databases have in common: the tables made or looked at, and messages put into them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine, Table, case, inspect, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from pipeline.delivery.client import (
    Message,
    NotSent,
    Unreachable,
    Unwelcome,
    together_or_each,
)
from pipeline.formats import tables
from pipeline.formats.selected import Selection
from pipeline.formats.tables import FRAMES, INSTANCES, MADE, RUNS, TRACKS

CALL_S = 10.0
"""How long a database may take for what one call asks of it."""
_INSERT: dict[str, Callable[[Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


@dataclass(frozen=True, slots=True)
class Database:
    """Where tables are, written or read; what goes wrong with it is a `NotSent`."""

    engine: Engine
    where: str
    """As messages call it."""
    told: Callable[[DBAPIError], NotSent]
    """What an error of it means."""
    hang_up: Callable[[Connection], None] | None = None
    """Breaks off what a connection waits for, from another thread; None: that is not needed."""
    schema: str | None = None
    """The tables are in it; None: the database knows no such thing."""

    def connect(self) -> Connection:
        """A connection to it.

        Raises:
            NotSent: there is none to be had.
        """
        try:
            return self.engine.connect()
        except DBAPIError as error:
            raise self.told(error) from error

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    @contextmanager
    def transaction(self, connection: Connection) -> Iterator[None]:
        """What is asked inside is one transaction, given up when it takes too long.

        Raises:
            NotSent: there was no answer in time, or the database refuses.
        """
        late = threading.Event()

        def give_up() -> None:
            late.set()
            if self.hang_up is not None:
                self.hang_up(connection)

        watch = threading.Timer(CALL_S, give_up)
        watch.daemon = True
        if self.hang_up is not None:
            watch.start()
        try:
            with connection.begin():
                yield
        except DBAPIError as error:
            if late.is_set():
                raise Unreachable(f"{self.where}: no answer within {CALL_S:g} s") from error
            raise self.told(error) from error
        finally:
            watch.cancel()


class SqlClient:
    """Taken means committed, as durable as the database makes that.

    Each message once and in order, also after a crash and rerun: how far each run has come stands
    in its row of `runs`, and is changed in the transaction that adds the frames.

    Args:
        database: its engine is closed here.
        selection: what records have; the other columns are NULL.
    """

    batch = 64

    def __init__(self, database: Database, selection: Selection) -> None:
        self._database, self._where, self._schema = database, database.where, database.schema
        self._keys = None if selection == Selection() else selection.keys
        self._connection: Connection | None = None
        self._insert = _INSERT[database.engine.dialect.name]

    def connect(self) -> None:
        """See that the database is there, and make the tables where there are none."""
        self._connection = connection = self._database.connect()
        with self._database.transaction(connection):
            self._prepare(connection)

    def send(self, batch: Sequence[Message]) -> None:
        """Add the rows of each message, all in one transaction; singly where one is refused."""
        together_or_each(batch, self._send)

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        self._database.close()

    def _send(self, batch: Sequence[Message]) -> None:
        connection = self._connection
        assert connection is not None  # noqa: S101 - the courier connects first
        with self._database.transaction(connection):
            for run, messages in groupby(batch, lambda message: message.key.partition(":")[0]):
                self._take(connection, run, list(messages))

    def _prepare(self, connection: Connection) -> None:
        names = inspect(connection).get_table_names(schema=self._schema)
        if MADE.name not in names:
            if others := sorted({table.name for table in tables.METADATA.sorted_tables} & {*names}):
                raise Unwelcome(
                    f"{self._where}: has a table {others[0]!r} already that is not ours; name "
                    "another database"
                )
            tables.METADATA.create_all(connection, checkfirst=False)
            connection.execute(MADE.insert(), {"version": tables.VERSION})
            return
        version = connection.scalar(select(MADE.c.version))
        if version == tables.VERSION - 1:
            self._bring_up(connection)
        elif version != tables.VERSION:
            raise Unwelcome(
                f"{self._where}: its tables are of version {version}, written are those of version "
                f"{tables.VERSION}; name another database, or remove them: DROP TABLE instances, "
                "tracks, frames, runs, maskstream"
            )

    def _bring_up(self, connection: Connection) -> None:
        """Tables of version 2 have no outlines, and are those of version 3 otherwise."""
        table = INSTANCES.name if self._schema is None else f"{self._schema}.{INSTANCES.name}"
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN polygons TEXT")
        connection.execute(update(MADE).values(version=tables.VERSION))

    def _take(self, connection: Connection, run: str, messages: list[Message]) -> None:
        """Add what this run has not added yet."""
        id_, last = self._run(connection, run, messages[0].source)
        told = [json.loads(message.body) for message in messages]
        fresh = []
        for record in told:
            if "frame" in record and (record["epoch"], record["frame"]) > last:
                fresh.append(record)
                last = record["epoch"], record["frame"]
        values: dict[str, Any] = {}
        if fresh:
            connection.execute(FRAMES.insert(), [tables.frame_row(id_, r) for r in fresh])
            if rows := [row for r in fresh for row in tables.instance_rows(id_, r, self._keys)]:
                connection.execute(INSTANCES.insert(), rows)
            if rows := tables.track_rows(id_, fresh):
                self._merge_tracks(connection, rows)
            values = dict(zip(("last_epoch", "last_frame"), last, strict=True))
            values |= {"outcome": None, "reason": None, "end_record": None}
        if "outcome" in told[-1]:
            end = told[-1]
            values |= {"outcome": end["outcome"], "reason": end["reason"]}
            values["end_record"] = messages[-1].body.decode()
        if values:
            connection.execute(update(RUNS).where(RUNS.c.id == id_).values(values))

    def _run(self, connection: Connection, run: str, source: str) -> tuple[int, tuple[int, int]]:
        """Id of a run, made known if it is new, and its last epoch and frame."""
        question = (
            select(RUNS.c.id, RUNS.c.last_epoch, RUNS.c.last_frame)
            .where(RUNS.c.run == run, RUNS.c.source == source)
            .with_for_update()
        )
        row = connection.execute(question).one_or_none()
        if row is None:  # another that writes it was quicker, maybe
            made = self._insert(RUNS).on_conflict_do_nothing()
            fields = None if self._keys is None else ",".join(self._keys)
            connection.execute(made, {"run": run, "source": source, "fields": fields})
            row = connection.execute(question).one()
        last = (-1, -1) if row.last_frame is None else (row.last_epoch, row.last_frame)
        return row.id, last

    def _merge_tracks(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        insert = self._insert(TRACKS)
        new, old = insert.excluded, TRACKS.c
        merged = {name: new[name] for name in ("label", "class_id", "last_frame", "last_pts_s")}
        merged["frames"] = old.frames + new.frames
        merged["best_score"] = case(
            (new.best_score > old.best_score, new.best_score), else_=old.best_score
        )
        insert = insert.on_conflict_do_update(index_elements=["run_id", "track"], set_=merged)
        connection.execute(insert, rows)
