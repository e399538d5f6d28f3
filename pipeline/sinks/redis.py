"""`redis://HOST:PORT/DB`: records as entries of a Redis stream, one stream a source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.delivery.client import Message, Rejected, Unreachable, Unwelcome, numbered
from pipeline.delivery.service import ServiceSink
from pipeline.errors import ConfigError
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import ServicePlace, open_service, place_of
from pipeline.sinks.tls import Tls, distrust

TIMEOUT_S = 5.0
_EVENTS = 1 << 16
"""Of one frame, at most; the place of one is the frame's number with a fraction, exact in Lua."""
_REMEMBERED_S = 30 * 24 * 3600
"""How long it is known in Redis how far a run came."""

# An entry is added unless this run has added it, or a later one, already. That is kept beside the
# stream: numbers of entries are Redis's own, so that runs of one source follow each other in it.
_ADD = """
if redis.call('EXISTS', KEYS[1]) == 1 then
  local last = redis.call('HMGET', KEYS[2], 'epoch', 'frame')
  if last[1] then
    local epoch, frame = tonumber(last[1]), tonumber(last[2])
    local e, f = tonumber(ARGV[1]), tonumber(ARGV[2])
    if e < epoch or (e == epoch and f <= frame) then return false end
  end
end
local id
if ARGV[5] == '0' then
  id = redis.call('XADD', KEYS[1], '*', 'key', ARGV[3], 'record', ARGV[4])
else
  id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[5], '*', 'key', ARGV[3], 'record', ARGV[4])
end
redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'frame', ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[6])
return id
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

    def __init__(self, place: ServicePlace, *, stream: str, maxlen: int) -> None:
        self._place = place
        self._stream = stream
        self._maxlen = maxlen
        self._redis = connection(place)
        self._add = self._redis.register_script(_ADD)

    def connect(self) -> None:
        """See that Redis is there and lets us in."""
        self._call(lambda: self._redis.ping())
        self._call(lambda: self._redis.script_load(_ADD))

    def send(self, batch: Sequence[Message]) -> None:
        """Add an entry for each message, all in one round trip."""
        pipe = self._redis.pipeline(transaction=False)
        for message in batch:
            _, (epoch, frame, event) = numbered(message.key)
            run = message.key.partition(":")[0]
            self._add(
                keys=[self._stream, f"{{{self._stream}}}:{run}"],
                args=[
                    epoch,
                    frame + event / _EVENTS,
                    message.key,
                    message.body,
                    self._maxlen,
                    _REMEMBERED_S,
                ],
                client=pipe,
            )
        answers = self._call(lambda: pipe.execute(raise_on_error=False))
        for number, answer in enumerate(answers):
            if isinstance(answer, redis.exceptions.RedisError):
                raise self._told(answer, acknowledged=number)

    def close(self) -> None:
        """Let go of the connection."""
        self._redis.connection_pool.disconnect()

    def _call(self, call: Any) -> Any:
        try:
            return call()
        except (redis.exceptions.RedisError, OSError) as error:
            raise self._told(error) from error

    def _told(self, error: Exception, acknowledged: int = 0) -> Exception:
        if reason := distrust(error):
            return Unwelcome(f"{self._place}: {reason}", acknowledged)
        text = f"{self._place}: {str(error).partition(chr(10))[0]}"
        if isinstance(error, _UNWELCOME):
            return Unwelcome(f"{text}; check user name, password and rights", acknowledged)
        if not isinstance(error, redis.exceptions.ResponseError):
            return Unreachable(text, acknowledged)
        word = str(error).partition(" ")[0]
        if word in ("NOAUTH", "WRONGPASS", "NOPERM", "WRONGTYPE") or "WRONGTYPE" in str(error):
            return Unwelcome(text, acknowledged)
        if any(later in str(error) for later in _LATER):
            return Unreachable(text, acknowledged)
        return Rejected(text, acknowledged)


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
    """Open `redis://HOST:PORT/DB`.

    Raises:
        ConfigError: the number of the database is none.
    """
    place = place_of(target)
    if place.path and not place.path.isdigit():
        raise ConfigError(
            f"sink {place}/{place.path}: expected the number of a database behind the host"
        )
    stream = target.options["stream"].replace("{source}", target.source_id)
    return open_service(target, RedisClient(place, stream=stream, maxlen=target.options["maxlen"]))
