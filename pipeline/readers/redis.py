"""Records in a Redis stream, while it grows or later."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import redis

from pipeline.errors import SourceError
from pipeline.readers.contract import Records, Wanted, is_end
from pipeline.sinks.redis import connection
from pipeline.sinks.services import place_of

_AT_ONCE = 100
_WAIT_MS = 1000


def read_redis(wanted: Wanted) -> Records:
    """Of the stream of one source.

    Raises:
        ConfigError: the password is not where the URL says.
    """
    place, options = place_of(wanted.target), wanted.target.options
    stream = options["stream"].replace("{source}", wanted.source or "")
    return _records(wanted, connection(place), stream, str(place))


def _records(wanted: Wanted, client: redis.Redis, stream: str, where: str) -> Records:
    after, ended = b"0", False
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
                record = json.loads(fields[b"record"])
                after, ended = entry, is_end(record)
                yield record
            if not entries and (ended or not wanted.follow):
                return
            if len(entries) < _AT_ONCE:
                yield None
