"""Records in a JetStream of NATS, while it grows or later."""

from __future__ import annotations

from nats import errors
from nats.aio.msg import Msg
from nats.js.client import JetStreamContext

from pipeline.readers.contract import Records, UnderWay, Wanted, over, record_in
from pipeline.sinks.nats import TIMEOUT_S, NatsClient
from pipeline.sinks.services import place_of

_WAIT_S = 1.0


class _Listener(NatsClient):
    """Gets the messages of the subject, from the first one on."""

    _subscription: JetStreamContext.PushSubscription

    def connect(self) -> None:
        """Ask for all there is and comes."""
        super().connect()
        stream = self._nats.jetstream()
        self._subscription = self._call(stream.subscribe(self._subject, ordered_consumer=True))

    def next(self) -> Msg | None:
        """The next one; None: there is none just now."""
        return self._call(self._next())

    async def _next(self) -> Msg | None:
        try:
            return await self._subscription.next_msg(_WAIT_S)
        except errors.TimeoutError:
            await self._see_that_it_answers()
            return None

    async def _see_that_it_answers(self) -> None:
        """A subject on which nothing comes and a server that has gone look alike."""
        try:
            await self._nats.flush(round(TIMEOUT_S))
        except errors.TimeoutError as error:
            raise TimeoutError(f"no answer within {TIMEOUT_S:g} s") from error


def read_nats(wanted: Wanted) -> Records:
    """Of the subject, and of one source where one is named.

    Raises:
        ConfigError: the password is not where the URL says.
    """
    subject = wanted.target.options["subject"].replace("{source}", wanted.source or "")
    return _records(wanted, _Listener(place_of(wanted.target), subject=subject, creates=None))


def _records(wanted: Wanted, listener: _Listener) -> Records:
    under_way = UnderWay(wanted.source)
    with over(listener):
        listener.connect()
        while True:
            message = listener.next()
            if message is not None:
                record = record_in(message.data, wanted)
                if under_way.takes(record):
                    yield record
                if message.metadata.num_pending:
                    continue
                if under_way.over:
                    return
            if not wanted.follow:
                return
            yield None
