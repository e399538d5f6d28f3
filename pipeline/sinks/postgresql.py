"""`postgresql://USER@HOST:PORT/DATABASE`: records as rows of a PostgreSQL database."""

from __future__ import annotations

import contextlib
import os
import socket
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from pipeline.delivery.client import NotSent, Rejected, Unreachable, Unwelcome
from pipeline.delivery.service import ServiceSink
from pipeline.sinks.schemes import SinkTarget, selection_of
from pipeline.sinks.services import ServicePlace, open_service, place_of
from pipeline.sinks.sql import CALL_S, Database, SqlClient

CONNECT_S = 5
_NOT_US = ("28", "3D", "3F", "42")
"""Classes of SQLSTATE: credentials, no such database or schema, rights and tables."""
_NO_TABLE = "42P01"
_NOT_THIS_MESSAGE = ("22", "23", "54")
_SAID_WITHOUT_CODE = {
    "password authentication failed": "check user name and password",
    "no password supplied": "give one with password_env or password_file",
    "does not exist": "create it, or name another",
    "no pg_hba.conf entry": "let us in there, see pg_hba.conf",
}
"""What is said while a connection is made has no code."""


def database_of(place: ServicePlace, schema: str) -> Database:
    """A database of a server, which gives up what is not answered in time, too."""
    tls: dict[str, Any] = {"sslmode": "prefer"}
    if place.tls is not None:
        tls = {"sslmode": "verify-full", "sslrootcert": place.tls.known or "system"}
        tls |= {"sslcert": place.tls.cert_file, "sslkey": place.tls.key_file}

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=place.host,
            port=place.port or 5432,
            dbname=place.path,
            user=place.username,
            password=None if place.password is None else place.password.reveal(),
            connect_timeout=CONNECT_S,
            application_name="maskstream",
            options=f"-c statement_timeout={CALL_S:g}s",
            **tls,
        )

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    engine = engine.execution_options(schema_translate_map={None: schema})
    where = f"{place}/{place.path}"
    return Database(engine, where, partial(_told, place), _hang_up, schema)


def _told(place: ServicePlace, error: DBAPIError) -> NotSent:
    """What an error of PostgreSQL means."""
    said = str(error.orig).partition("\n")[0].rpartition("failed: ")[2]
    message, code = f"{place}/{place.path}: {said}", getattr(error.orig, "sqlstate", None) or ""
    if "certificate" in said and not code:
        return Unwelcome(
            f"{place}/{place.path}: its certificate is not trusted ({said}); name who signed it "
            "with tls_ca_file"
        )
    for words, advice in _SAID_WITHOUT_CODE.items():
        if not code and words in said:
            return Unwelcome(f"{message}; {advice}")
    if code == _NO_TABLE:
        return Unwelcome(f"{message}; there is nothing of maskstream in it")
    if code.startswith(_NOT_US):
        return Unwelcome(f"{message}; check user name, password and rights")
    if code.startswith(_NOT_THIS_MESSAGE) or isinstance(error.orig, psycopg.DataError):
        return Rejected(message)
    return Unreachable(message)


def _hang_up(connection: Connection) -> None:
    """End a connection to a server that does not answer, whoever waits for it."""
    with contextlib.suppress(Exception):
        file = os.dup(connection.connection.dbapi_connection.fileno())  # type: ignore[union-attr]
        with socket.socket(fileno=file) as end:
            end.shutdown(socket.SHUT_RDWR)


def open_postgresql(target: SinkTarget) -> ServiceSink:
    """Open `postgresql://USER@HOST:PORT/DATABASE`."""
    database = database_of(place_of(target), target.options["schema"])
    selection = selection_of(target).in_columns()
    return open_service(target, _PostgresqlClient(database, selection), selection)


class _PostgresqlClient(SqlClient):
    def _prepare(self, connection: Connection) -> None:
        """One after the other, or two that make the same tables are in each other's way."""
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('maskstream'))"))
        if self._schema is not None and not inspect(connection).has_schema(self._schema):
            connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{self._schema}"'))
        super()._prepare(connection)
