"""Records at a RabbitMQ: all that a stream queue has, or copies of what comes from now on.

A queue of any other kind hands each message to one consumer and forgets it, so it is left to those
it is for: a queue of our own, which goes with us, gets the same messages from the exchange.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from pika.spec import Basic, BasicProperties

from pipeline.delivery.service import CALL_S
from pipeline.readers.contract import Records, Wanted
from pipeline.readers.listening import heard
from pipeline.sinks.amqp import AmqpClient, client_of

_WAIT_S = 1.0
_UNDER_WAY = 200
"""Messages that are there before the first of them is dealt with, at most."""


class _Listener(AmqpClient):
    """Gets what a queue has."""

    _hints: ClassVar[dict[int, str]] = AmqpClient._hints | {
        404: "name the exchange and the queue that a run is sent to",
        406: "type=stream is for a queue that is one",
    }

    def connect(self) -> None:
        """Ask for all there is in a stream, or for what comes from now on."""
        self._came: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        super().connect()

    def next(self) -> bytes | None:
        """The next one; None: there is none just now.

        Raises:
            NotSent: the broker has gone.
        """
        return self._call(self._next(), CALL_S)

    @property
    def waiting(self) -> int:
        """Messages that are there already."""
        return self._came.qsize()

    async def _declare(self) -> None:
        channel, queue, kept = self._there, self.route.queue, self.route.kind == "stream"
        if not kept:
            if self._creates:
                await self._make_exchange()
            made = await channel.ask(channel.pika.queue_declare, queue="", exclusive=True)
            queue = made.queue
            await self._bind(queue)
        await self._qos()
        await channel.ask(
            channel.pika.basic_consume,
            queue=queue,
            on_message_callback=self._on_message,
            arguments={"x-stream-offset": "first"} if kept else None,
        )

    async def _qos(self) -> None:
        await self._there.ask(self._there.pika.basic_qos, prefetch_count=_UNDER_WAY)

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(_WAIT_S):
                number, body = await self._came.get()
        except TimeoutError:
            await self._qos()  # nothing that comes and a broker that has gone look alike
            return None
        if not self._there.gone.done():
            self._there.pika.basic_ack(number)
        return body

    def _on_message(
        self, _: object, delivery: Basic.Deliver, __: BasicProperties, body: bytes
    ) -> None:
        self._came.put_nowait((delivery.delivery_tag, body))


def read_amqp(wanted: Wanted) -> Records:
    """Of the queue or the routing key, and of one source where one is named.

    Raises:
        ConfigError: the password is not where the URL says.
    """
    return heard(wanted, client_of(wanted.target, _Listener))
