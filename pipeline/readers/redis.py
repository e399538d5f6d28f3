"""Records in a Redis stream, while it grows or later."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import redis

from pipeline.errors import SourceError
from pipeline.readers.contract import Records, UnderWay, Wanted, record_in
from pipeline.sinks.redis import connection
from pipeline.sinks.services import place_of

_AT_ONCE = 100
_WAIT_MS = 1000


def read_redis(wanted: Wanted) -> Records:
    """Of the stream, and of one source where one is named.

    Raises:
        ConfigError: the password is not where the URL says.
    """
    place, options = place_of(wanted.target), wanted.target.options
    stream = options["stream"].replace("{source}", wanted.source or "")
    return _records(wanted, connection(place), stream, str(place))


def _records(wanted: Wanted, client: redis.Redis, stream: str, where: str) -> Records:
    after, under_way = b"0", UnderWay(wanted.source)
    block = _WAIT_MS if wanted.follow else None
    with closing(client):
        while True:
            try:
                answer: Any = client.xread({stream: after}, count=_AT_ONCE, block=block)
            except (redis.exceptions.RedisError, OSError) as error:
                said = str(error).partition("\n")[0]
                raise SourceError(f"{where}: cannot read records: {said}") from error
            entries = answer[0][1] if answer else []
            for entry, fields in entries:
                record, after = record_in(fields.get(b"record", b""), wanted), entry
                if under_way.takes(record):
                    yield record
            if not entries and (under_way.over or not wanted.follow):
                return
            if len(entries) < _AT_ONCE:
                yield None
