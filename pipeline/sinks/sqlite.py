"""`sqlite:FILE`: records as rows of a database in a file, which several sources share."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from pipeline.delivery.client import NotSent, Rejected, Unreachable, Unwelcome
from pipeline.delivery.service import ServiceSink
from pipeline.sinks.files import prepare_folder
from pipeline.sinks.schemes import SinkTarget, selection_of
from pipeline.sinks.services import open_service
from pipeline.sinks.sql import Database, SqlClient

BUSY_S = 5.0
"""How long one that writes waits for another."""
_TO_WRITE = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
_TO_READ = ("query_only=ON",)
"""Nothing is written; but the last to close the file takes the log beside it in, and away."""
_NOT_THIS_FILE = ("NOTADB", "CANTOPEN", "READONLY", "PERM", "AUTH", "CORRUPT", "ERROR")
_NOT_THIS_MESSAGE = ("TOOBIG", "CONSTRAINT", "MISMATCH", "RANGE")


def database_of(path: str, *, read_only: bool = False) -> Database:
    """A database in a file.

    Written is with a log beside it (WAL), so that readers and one writer do not wait for each
    other; a transaction begins as one that writes, and is on the disk when it is over.
    """

    def connect() -> sqlite3.Connection:
        where = f"file:{quote(path)}?mode={'rw' if read_only else 'rwc'}"
        connection = sqlite3.connect(
            where, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        for setting in _TO_READ if read_only else _TO_WRITE:
            connection.execute(f"PRAGMA {setting}")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return Database(engine, path, partial(_told, path))


def _told(path: str, error: DBAPIError) -> NotSent:
    """What an error of SQLite means."""
    original: Any = error.orig
    kind = str(getattr(original, "sqlite_errorname", "")).removeprefix("SQLITE_")
    text = f"{path}: {original}"
    if kind == "NOTADB":
        return Unwelcome(f"{text}; name another file")
    if kind.startswith(_NOT_THIS_FILE):
        return Unwelcome(f"{text}; check the file and its folder, and who may write there")
    if kind.startswith(_NOT_THIS_MESSAGE):
        return Rejected(text)
    return Unreachable(text)


def open_sqlite(target: SinkTarget) -> ServiceSink:
    """Open `sqlite:FILE`.

    Raises:
        ConfigError: its folder cannot be made.
    """
    path = str(target.path)
    prepare_folder(target, target.path.parent)
    selection = selection_of(target).in_columns()
    return open_service(target, SqlClient(database_of(path), selection), selection)
