"""`amqp://HOST:PORT/VHOST`: records to an exchange of RabbitMQ, and from there to queues."""

from __future__ import annotations

import re
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote

from pika import BasicProperties, ConnectionParameters, PlainCredentials, SSLOptions

from pipeline.delivery.client import (
    Message,
    NotSent,
    Rejected,
    Unreachable,
    Unwelcome,
    too_large,
)
from pipeline.delivery.service import CALL_S, ServiceSink
from pipeline.sinks.amqp_channel import AmqpChannel, Ended, Fate
from pipeline.sinks.eventloop import EventLoop
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import ServicePlace, open_service, place_of
from pipeline.sinks.tls import distrust

T = TypeVar("T")
C = TypeVar("C", bound="AmqpClient")

TIMEOUT_S, HEARTBEAT_S = 5.0, 30
_STARVED_S = 10.0
"""Before a broker out of memory or disk is asked again, which costs a message that comes twice."""
_EVERYBODY = "guest"
"""Whom a RabbitMQ lets in from its own machine unless that was changed."""
_LASTING = 2
_TOO_LARGE = re.compile(r"larger than (?:configured )?max size (\d+)")


@dataclass(frozen=True, slots=True)
class Route:
    """Which way messages go."""

    exchange: str
    routing_key: str
    queue: str
    kind: str = "classic"
    """Of the queue: `classic`, `quorum` or `stream`."""

    @property
    def arguments(self) -> dict[str, str]:
        """What the queue is declared with."""
        return {} if self.kind == "classic" else {"x-queue-type": self.kind}


class AmqpClient:
    """Taken means that the broker has confirmed the message: each queue it goes to has it safely.

    At least once and in order, with the same `message_id` when it comes twice. It is said where a
    message would go to no queue.

    Args:
        place: where the broker is; its path names the virtual host.
        route: of the messages.
        creates: make exchange and queue where there are none.
        source_id: whose records they are.
    """

    batch = 64
    around = 0
    _hints: ClassVar[dict[int, str]] = {
        403: "check user name, password and rights",
        404: "make it, or leave create=0 out",
        406: "name another, or take it as it is with create=0",
        530: "name one behind the host that is there and open to this user",
    }
    """What to do, by AMQP's numbers for why a connection or channel is ended."""

    def __init__(self, place: ServicePlace, *, route: Route, creates: bool, source_id: str) -> None:
        self._place, self.route, self._creates = place, route, creates
        self._source_id = source_id
        self._loop: EventLoop | None = None
        self._channel: AmqpChannel | None = None
        self.limit: int | None = None
        self._largest = 0
        self._refuses = False

    def connect(self) -> None:
        """Connect, see that the exchange is there, and make it and the queue where we may."""
        self._largest, self.limit = 0, None
        self._loop = EventLoop("amqp")
        self._call(self._connect(), CALL_S / 2)
        self._call(self._declare(), CALL_S / 2)

    def send(self, batch: Sequence[Message]) -> None:
        """Publish all, and wait until each is confirmed."""
        done = 0
        while done < len(batch):
            count = self._together(batch[done:])
            try:
                self._send(batch[done : done + count])
            except NotSent as error:
                error.acknowledged += done
                raise
            done += count

    def close(self) -> None:
        """Let go of the connection."""
        loop, self._loop = self._loop, None
        channel, self._channel = self._channel, None
        if loop is not None:
            try:
                if channel is not None:
                    loop.call(channel.close(1.0), 2.0)
            except TimeoutError:
                pass
            finally:
                loop.close()

    def _together(self, batch: Sequence[Message]) -> int:
        """How many may be on their way before the first is confirmed.

        One that is larger than all that were taken over this connection goes alone, the first too:
        what is too large ends the channel with all that is under way, and of what a broker without
        memory does not confirm only this one comes twice. Where a queue has refused one they go one
        by one, since it might take the next.
        """
        if self._refuses:
            return 1
        larger = (n for n, one in enumerate(batch) if len(one.body) > self._largest)
        return max(1, next(larger, len(batch)))

    def _send(self, batch: Sequence[Message]) -> None:
        channel = self._there
        if channel.blocked is not None:
            raise self._starved(channel.blocked)
        route = self.route
        out = [(_properties(one), one.body) for one in batch]
        sent = channel.publish(route.exchange, route.routing_key, out, TIMEOUT_S)
        for number, fate in enumerate(self._call(sent, 2 * TIMEOUT_S)):
            if fate is not Fate.TAKEN:
                raise self._reason(fate, number, len(batch[number].body))
        self._largest = max(self._largest, *(len(one.body) for one in batch))

    def _reason(self, fate: Fate, number: int, size: int) -> NotSent:
        channel, route = self._there, self.route
        if fate is Fate.RETURNED:
            return Unwelcome(
                f"{self._place}: no queue gets what comes to the exchange {route.exchange!r} with "
                f"the routing key {route.routing_key!r}; bind one, or leave create=0 out",
                number,
            )
        if fate is Fate.REFUSED:
            self._refuses = True
            return Unreachable(f"{self._place}: a queue has refused it, as a full one does", number)
        if not channel.gone.done():
            if channel.blocked is not None:
                return self._starved(channel.blocked, number)
            return Unreachable(f"{self._place}: {_silence()}", number)
        ended = channel.gone.result()
        if found := _TOO_LARGE.search(ended.text):
            self.close()
            self.connect()  # the channel is gone, and who asks will go on without that message
            self.limit = int(found[1])
            return Rejected(too_large(size, self.limit), number)
        return self._told(ended, number)

    def _starved(self, said: str, acknowledged: int = 0) -> Unreachable:
        text = f"{self._place}: it takes nothing now, {said}"
        return Unreachable(text, acknowledged, retry_after_s=_STARVED_S)

    def _told(self, ended: Ended, acknowledged: int = 0) -> NotSent:
        if reason := next(filter(None, map(distrust, ended.causes)), None):
            return Unwelcome(f"{self._place}: {reason}", acknowledged)
        text = f"{self._place}: {_silence() if ended.silent else ended.text.rstrip('.')}"
        if ended.code in self._hints:
            return Unwelcome(f"{text}; {self._hints[ended.code]}", acknowledged)
        return Unreachable(text, acknowledged)

    async def _connect(self) -> None:
        self._channel = AmqpChannel(self._parameters())
        await self._channel.open()

    async def _declare(self) -> None:
        channel, route = self._there, self.route
        if not self._creates:
            await channel.ask(channel.pika.exchange_declare, exchange=route.exchange, passive=True)
            return
        await self._make_exchange()
        await channel.ask(
            channel.pika.queue_declare, queue=route.queue, durable=True, arguments=route.arguments
        )
        await self._bind(route.queue)

    async def _make_exchange(self) -> None:
        ask = self._there.pika.exchange_declare
        name = self.route.exchange
        await self._there.ask(ask, exchange=name, exchange_type="topic", durable=True)

    async def _bind(self, queue: str) -> None:
        route, ask = self.route, self._there.pika.queue_bind
        await self._there.ask(
            ask, queue=queue, exchange=route.exchange, routing_key=route.routing_key
        )

    @property
    def _there(self) -> AmqpChannel:
        assert self._channel is not None  # noqa: S101 - the courier connects first
        return self._channel

    def _call(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        assert self._loop is not None  # noqa: S101 - the courier connects first
        try:
            return self._loop.call(work, timeout_s)
        except Ended as ended:
            raise self._told(ended) from ended
        except TimeoutError as error:
            raise Unreachable(f"{self._place}: {_silence(timeout_s)}") from error

    def _parameters(self) -> ConnectionParameters:
        place = self._place
        word = _EVERYBODY if place.password is None else place.password.reveal()
        return ConnectionParameters(
            host=place.host,
            port=place.port or (5672 if place.tls is None else 5671),
            virtual_host=unquote(place.path) or "/",
            credentials=PlainCredentials(place.username or _EVERYBODY, word),
            ssl_options=None if place.tls is None else SSLOptions(place.tls.context(), place.host),
            heartbeat=HEARTBEAT_S,
            connection_attempts=1,  # who asks again is the courier
            socket_timeout=TIMEOUT_S,
            stack_timeout=TIMEOUT_S,
            client_properties={"connection_name": f"maskstream {self._source_id}"},
        )


def _properties(message: Message) -> BasicProperties:
    return BasicProperties(
        content_type=message.encoding.media_type,
        content_encoding=message.encoding.coding,
        delivery_mode=_LASTING,
        message_id=message.key,
        app_id="maskstream",
    )


def _silence(timeout_s: float | None = None) -> str:
    return f"no answer within {timeout_s or TIMEOUT_S:g} s"


def open_amqp(target: SinkTarget) -> ServiceSink:
    """Open `amqp://HOST:PORT/VHOST`."""
    return open_service(target, client_of(target, AmqpClient))


def client_of(target: SinkTarget, kind: type[C]) -> C:
    """A client of the broker, the exchange and the queue that a URL names."""
    place, options = place_of(target), target.options
    exchange, key, queue = (
        None if word is None else word.replace("{source}", target.source_id)
        for word in (options["exchange"], options["routing_key"], options["queue"])
    )
    route = Route(exchange or "", key or "", queue or key or "", options["type"])
    return kind(place, route=route, creates=options["create"], source_id=target.source_id)
