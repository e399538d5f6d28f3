"""`redis://HOST:PORT/DB`: records as entries of a Redis stream, one stream a source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.delivery.client import (
    Message,
    Rejected,
    Unreachable,
    Unwelcome,
    numbered,
    together_or_each,
)
from pipeline.delivery.service import ServiceSink
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import ServicePlace, open_service, place_of
from pipeline.sinks.tls import Tls, distrust

TIMEOUT_S = 5.0
_EVENTS = 1 << 16
"""Of one frame, at most; the place of one is the frame's number with a fraction, exact in Lua."""
_REMEMBERED_S = 30 * 24 * 3600
"""How long it is known in Redis how far a run came."""

_LARGEST = 512 << 20
"""Bytes of a value, where Redis is not asked to take less."""

# An entry is added unless this run has added it, or a later one, already. That is kept beside the
# stream: numbers of entries are Redis's own, so that runs of one source follow each other in it.
# All of a batch in one step: none is taken while one before it is not.
_ADD = """
for n = 2, #KEYS do
  local at = 4 * n - 5
  local epoch, frame, key, record = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local known = false
  if redis.call('EXISTS', KEYS[1]) == 1 then
    local last = redis.call('HMGET', KEYS[n], 'epoch', 'frame')
    if last[1] then
      local e, f = tonumber(last[1]), tonumber(last[2])
      known = tonumber(epoch) < e or (tonumber(epoch) == e and tonumber(frame) <= f)
    end
  end
  if not known then
    if ARGV[1] == '0' then
      redis.call('XADD', KEYS[1], '*', 'key', key, 'record', record)
    else
      redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'key', key, 'record', record)
    end
    redis.call('HSET', KEYS[n], 'epoch', epoch, 'frame', frame)
    redis.call('EXPIRE', KEYS[n], ARGV[2])
  end
end
"""
_UNWELCOME = (
    redis.exceptions.AuthenticationError,
    redis.exceptions.NoPermissionError,
    redis.exceptions.AuthorizationError,
)
_LATER = ("LOADING", "BUSY", "OOM", "READONLY", "MASTERDOWN", "MISCONF", "TRYAGAIN", "CLUSTERDOWN")


class RedisClient:
    """Taken means that Redis has added the entry; whether it is on its disk Redis is configured to.

    Each message once and in order, also after a crash and rerun: how far each run has come lies
    beside the stream and is changed in one step with it.

    Args:
        place: where Redis is.
        stream: name of the stream.
        maxlen: entries the stream keeps, about; 0 for all.
    """

    batch = 64
    around = 0

    def __init__(self, place: ServicePlace, *, stream: str, maxlen: int) -> None:
        self._place = place
        self._stream = stream
        self._maxlen = maxlen
        self.limit: int | None = _LARGEST
        self._redis = connection(place)
        self._add = self._redis.register_script(_ADD)

    def connect(self) -> None:
        """See that Redis is there, lets us in, and how much it takes."""
        try:
            self._call(lambda: self._redis.ping())
        except Rejected as error:  # there is no message yet: such as no database of that number
            raise Unwelcome(str(error)) from error
        self.limit = self._call(self._largest)

    def send(self, batch: Sequence[Message]) -> None:
        """Add an entry for each message, all in one step."""
        together_or_each(batch, self._send)

    def close(self) -> None:
        """Let go of the connection."""
        self._redis.connection_pool.disconnect()

    def _largest(self) -> int:
        try:
            return int(self._redis.config_get("proto-max-bulk-len")["proto-max-bulk-len"] or 0)
        except (redis.exceptions.ResponseError, KeyError):  # not for everybody to ask
            return _LARGEST

    def _send(self, batch: Sequence[Message]) -> None:
        keys: list[str] = [self._stream]
        args: list[float | str | bytes] = [self._maxlen, _REMEMBERED_S]
        for message in batch:
            _, (epoch, frame, event) = numbered(message.key)
            keys.append(f"{{{self._stream}}}:{message.key.partition(':')[0]}")
            args += [epoch, frame + event / _EVENTS, message.key, message.body]
        self._call(lambda: self._add(keys, args))

    def _call(self, call: Any) -> Any:
        try:
            return call()
        except (redis.exceptions.RedisError, OSError) as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> Exception:
        if reason := distrust(error):
            return Unwelcome(f"{self._place}: {reason}")
        text = f"{self._place}: {str(error).partition(chr(10))[0]}"
        if isinstance(error, _UNWELCOME):
            return Unwelcome(f"{text}; check user name, password and rights")
        if not isinstance(error, redis.exceptions.ResponseError):
            return Unreachable(text)
        word = str(error).partition(" ")[0]
        if word in ("NOAUTH", "WRONGPASS", "NOPERM", "WRONGTYPE") or "WRONGTYPE" in str(error):
            return Unwelcome(text)
        if any(later in str(error) for later in _LATER):
            return Unreachable(text)
        return Rejected(text)


def connection(place: ServicePlace) -> redis.Redis:
    """A connection that is made when it is first used."""
    tls = place.tls or Tls()
    return redis.Redis(
        host=place.host,
        port=place.port or 6379,
        db=int(place.path or 0),
        username=place.username,
        password=None if place.password is None else place.password.reveal(),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),  # who asks again is the courier
        ssl=place.tls is not None,
        ssl_ca_certs=tls.ca_file,
        ssl_certfile=tls.cert_file,
        ssl_keyfile=tls.key_file or tls.cert_file,
    )


def open_redis(target: SinkTarget) -> ServiceSink:
    """Open `redis://HOST:PORT/DB`."""
    place = place_of(target)
    stream = target.options["stream"].replace("{source}", target.source_id)
    return open_service(target, RedisClient(place, stream=stream, maxlen=target.options["maxlen"]))
