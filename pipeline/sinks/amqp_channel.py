"""`AmqpChannel`: a connection to a broker and its channel, as coroutines over pika's callbacks."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from typing import Any

from pika import BasicProperties, ConnectionParameters
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel
from pika.exceptions import AMQPError, ChannelClosed, ConnectionClosed, ConnectionOpenAborted
from pika.frame import Method
from pika.spec import Basic

if logging.getLogger("pika").level == logging.NOTSET:
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it has to say comes as errors


_CLOSED = re.compile(r"\((\d+)\) (['\"])(.*)\2")


class Ended(Exception):
    """Connection or channel are no more.

    Args:
        cause: what pika says of it.
    """

    def __init__(self, cause: BaseException) -> None:
        self.causes = list(_wrapped(cause))
        """All that is wrapped in it."""
        self.code: int | None = None
        """What the broker gave as the reason, in AMQP's own numbers."""
        self.text = next((str(one) for one in reversed(self.causes) if str(one)), repr(cause))
        """One line."""
        for one in self.causes:
            if isinstance(one, ChannelClosed | ConnectionClosed):
                self.code, self.text = one.reply_code, one.reply_text
            elif closed := _CLOSED.search(str(one)):  # before it was open
                self.code, self.text = int(closed[1]), closed[3]
        super().__init__(self.text)

    @property
    def silent(self) -> bool:
        """The broker said nothing while it was waited for."""
        return any(isinstance(one, ConnectionOpenAborted) for one in self.causes)


class Fate(Enum):
    """What became of a message."""

    TAKEN = auto()
    """Confirmed: every queue it was routed to has it."""
    RETURNED = auto()
    """It was routed to no queue."""
    REFUSED = auto()
    """A queue did not want it."""
    UNKNOWN = auto()
    """Nothing was said of it."""


class AmqpChannel:
    """Lives in the event loop it is opened in; with publisher confirms.

    Args:
        parameters: of the connection.
    """

    def __init__(self, parameters: ConnectionParameters) -> None:
        loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[Ended] = loop.create_future()
        """Why connection or channel are no more."""
        self.blocked: str | None = None
        """Why the broker takes no messages for the time being."""
        self._closed: asyncio.Future[None] = loop.create_future()
        self._opened: asyncio.Future[object] = loop.create_future()
        self._sent = 0
        self._fates: dict[int, Fate] = {}
        """Of the messages under way that something was said of, by their numbers."""
        self._first = 1
        """The number of the first message that is under way."""
        self._numbers: dict[str | None, int] = {}
        """By their message ids."""
        self._changed = asyncio.Event()
        self._connection = AsyncioConnection(
            parameters,
            on_open_callback=self._opened.set_result,
            on_open_error_callback=self._on_closed,
            on_close_callback=self._on_closed,
            custom_ioloop=loop,
        )
        self.pika: Channel
        """The channel itself."""

    async def open(self) -> None:
        """Wait until it can be used.

        Raises:
            Ended: it cannot.
        """
        await self._unless_gone(self._opened)
        self._connection.add_on_connection_blocked_callback(self._on_blocked)
        self._connection.add_on_connection_unblocked_callback(self._on_unblocked)
        opened = asyncio.get_running_loop().create_future()
        self.pika = self._connection.channel(on_open_callback=opened.set_result)
        self.pika.add_on_close_callback(self._on_gone)
        self.pika.add_on_return_callback(self._on_returned)
        await self._unless_gone(opened)
        await self.ask(self.pika.confirm_delivery, ack_nack_callback=self._on_confirmed)

    async def ask(self, method: Callable[..., object], **words: object) -> Any:
        """Call a method of the channel that the broker answers; the answer.

        Raises:
            Ended: it was not done, and the channel is no more.
        """
        answer = asyncio.get_running_loop().create_future()
        method(**words, callback=answer.set_result)
        return (await self._unless_gone(answer)).method

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        messages: Sequence[tuple[BasicProperties, bytes]],
        timeout_s: float,
    ) -> list[Fate]:
        """Send messages that have ids; what became of each within the time."""
        self._fates.clear()
        self._first = self._sent + 1
        self._numbers = {p.message_id: self._first + n for n, (p, _) in enumerate(messages)}
        for properties, body in messages if not self.gone.done() else ():
            self.pika.basic_publish(exchange, routing_key, body, properties, mandatory=True)
            self._sent += 1
        numbers = range(self._first, self._first + len(messages))
        try:
            async with asyncio.timeout(timeout_s):
                while not self.gone.done() and not all(n in self._fates for n in numbers):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass  # what is known is known
        return [self._fates.get(number, Fate.UNKNOWN) for number in numbers]

    async def close(self, timeout_s: float) -> None:
        """Say good-bye, and hang up where nobody listens."""
        if not (self._connection.is_closing or self._connection.is_closed):
            self._connection.close()
        await asyncio.wait({self._closed}, timeout=timeout_s)
        if not self._closed.done():
            self._connection._terminate_stream(AMQPError("no answer"))
            await self._closed

    async def _unless_gone(self, answer: asyncio.Future[Any]) -> Any:
        await asyncio.wait({answer, self.gone}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise self.gone.result()

    def _on_closed(self, connection: object, error: BaseException) -> None:
        self._on_gone(connection, error)
        if not self._closed.done():
            self._closed.set_result(None)

    def _on_gone(self, _: object, error: BaseException) -> None:
        if not self.gone.done():
            self.gone.set_result(Ended(error))
        self._changed.set()

    def _on_blocked(self, _: object, frame: Method) -> None:
        self.blocked = str(frame.method.reason)

    def _on_unblocked(self, *_: object) -> None:
        self.blocked = None

    def _on_returned(self, _: object, __: object, properties: BasicProperties, ___: bytes) -> None:
        """Comes before the message is confirmed."""
        number = self._numbers.get(properties.message_id)
        if number is not None:
            self._fates[number] = Fate.RETURNED

    def _on_confirmed(self, frame: Method) -> None:
        fate = Fate.TAKEN if isinstance(frame.method, Basic.Ack) else Fate.REFUSED
        last = frame.method.delivery_tag
        for number in range(self._first if frame.method.multiple else last, last + 1):
            self._fates.setdefault(number, fate)
        self._changed.set()


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    yield error
    inner = [getattr(error, "exception", None), *getattr(error, "exceptions", ()), *error.args]
    for one in inner:
        if isinstance(one, BaseException):
            yield from _wrapped(one)
