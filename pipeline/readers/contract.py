"""`ReadBack`: what reads a kind of sink back, and the table of those there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from pipeline.catalogue import Catalogue, Entry
from pipeline.delivery.client import NotSent
from pipeline.errors import SourceError
from pipeline.formats import jsonl
from pipeline.formats.encoded import EXTRA, decoded
from pipeline.plain import plain
from pipeline.secrets import mask_url
from pipeline.sinks.schemes import SinkTarget

POLL_S = 0.2
"""How long to wait before what cannot tell by itself is asked again."""

Records: TypeAlias = Generator[dict[str, Any] | None, None, None]
"""Records as objects, the end records too. None: there is nothing more just now."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be read."""

    target: SinkTarget
    """As the sink was opened with, the source's id filled in where one was given."""
    source: str | None
    """Only records of this source, where there are several in one place; None: of all."""
    follow: bool
    """False: what is there. True: also what comes, until the stream ends."""
    pause: Callable[[float], None] = field(default=time.sleep)
    """Waits so many seconds."""


class ReadBack(Protocol):
    """A reader."""

    def __call__(self, wanted: Wanted) -> Records:
        """Yield records in their order, each once.

        Where it follows it yields None when it has got to the end of what is there, and at least
        every other second while nothing comes, so that whoever asks can look to other things; it
        returns behind an end record with nothing behind it. Closing the generator lets go of
        everything.

        Raises:
            SourceError: it cannot be read, is damaged, or has not answered for 20 s, also where it
                is followed; names the place, holds no secrets.
        """


@dataclass(frozen=True, slots=True)
class Readable(Entry):
    """A kind of sink that can be read, by the scheme of its URL; it `opens` its `ReadBack`."""


def record_in(body: bytes, wanted: Wanted) -> dict[str, Any]:
    """The record a message is, in whichever encoding.

    Raises:
        SourceError: it is none: others send there, too; or what decodes it is not installed.
    """
    where = mask_url(f"{wanted.target.scheme}:{wanted.target.location}")
    try:
        record = decoded(body)
        ours = str(record["schema"]).startswith("maskstream.") and {"run", "source"} <= {*record}
    except ImportError as error:
        raise SourceError(
            f"{where}: its records need {error.name}, which is not installed: "
            f"pip install 'maskstream[{EXTRA}]'"
        ) from error
    except (ValueError, RecursionError, TypeError, KeyError):
        ours = False
    if not ours:
        raise SourceError(
            f"{where}: holds something that is no record, {plain(repr(body[:40]))}; have nothing "
            "else sent there"
        )
    return dict(record)


def is_end(record: dict[str, Any]) -> bool:
    """Whether a stream ends with it."""
    return record.get("schema") == jsonl.END_SCHEMA


class UnderWay:
    """Which streams go on, where several may be in one place, and which of them are asked for.

    Args:
        source: the only one that is; None: all.
    """

    def __init__(self, source: str | None) -> None:
        self._source = source
        self._going: dict[str, bool] = {}

    def takes(self, record: dict[str, Any]) -> bool:
        """Whether it is asked for; the end of its stream, or that it goes on, is noted."""
        source = str(record.get("source", ""))
        if self._source not in (None, source):
            return False
        self._going[source] = not is_end(record)
        return True

    @property
    def over(self) -> bool:
        """Whether something was there, and all of it has ended."""
        return bool(self._going) and not any(self._going.values())


class Closed(Protocol):
    """What is let go of."""

    def close(self) -> None:
        """Let go of it."""


@contextmanager
def over(client: Closed) -> Iterator[None]:
    """Read over a connection, which is closed at the end.

    Raises:
        SourceError: what was asked of it was not answered.
    """
    try:
        with closing(client):
            yield
    except NotSent as error:
        raise SourceError(f"cannot read records: {error}") from error


def each_once(found: Records) -> Records:
    """What a service that was away is sent a second time, left out; a frame has several events."""
    last: dict[tuple[str, str], tuple[int, int]] = {}
    of_it: dict[tuple[str, str], set[object]] = {}
    with closing(found):
        for record in found:
            if record is not None and "frame" in record:
                origin = record["run"], record["source"]
                place, what = (record["epoch"], record["frame"]), _what(record)
                before = last.get(origin, (-1, -1))
                if place < before or (place == before and what in of_it[origin]):
                    continue
                of_it[origin] = {what} | (of_it[origin] if place == before else set())
                last[origin] = place
            yield record


def _what(record: dict[str, Any]) -> object:
    return record.get("event"), record.get("id")


def _row(scheme: str, module: str, summary: str) -> Readable:
    return Readable(scheme, f"pipeline.readers.{module}", summary)


READERS = Catalogue(
    "reader",
    "maskstream.readers",
    [
        _row("jsonl", "lines:read_lines", "a file of records"),
        _row("events", "lines:read_lines", "a file of events"),
        _row("parquet", "parquet:read_parquet", "a file or folder of Parquet"),
        _row("sqlite", "sql:read_sqlite", "a SQLite database"),
        _row("postgresql", "sql:read_postgresql", "a PostgreSQL database"),
        _row("redis", "redis:read_redis", "a Redis stream"),
        _row("rediss", "redis:read_redis", "a Redis stream, over TLS"),
        _row("kafka", "kafka:read_kafka", "a topic of Kafka"),
        _row("nats", "nats:read_nats", "a JetStream of NATS"),
        _row("amqp", "amqp:read_amqp", "RabbitMQ: a stream, or what comes from now on"),
        _row("amqps", "amqp:read_amqp", "RabbitMQ, over TLS"),
        _row("mqtt", "mqtt:read_mqtt", "an MQTT topic, from now on"),
        _row("s3", "objects:read_s3", "objects in a bucket"),
        _row("az", "objects:read_azure", "objects in a container of Azure"),
        _row("mqtts", "mqtt:read_mqtt", "an MQTT topic, over TLS"),
    ],
)
"""All readers; installed packages offer more rows in entry points of this group."""
