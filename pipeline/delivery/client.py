"""`Client`: what a service has to be able to do for results to be delivered to it.

Everything else is written once around it: what waits does so in a `MessageSpool`, a `Courier`
brings it to the service and asks again. A new service is a file with these three methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pipeline.errors import SinkError
from pipeline.formats.encoded import JSON, Encoding


@dataclass(frozen=True, slots=True)
class Message:
    """One record on its way."""

    source: str
    """Id of its source: messages of one source stay in order."""
    key: str
    """`run:source:epoch:frame`, of an event with its number behind that, or `run:source:end`; the
    same when a message comes twice."""
    body: bytes
    """The record as JSON, or as `encoding` says."""
    slot: str = ""
    """Names what it becomes a part of, with those beside it that have the same; see `Gathering`."""
    encoding: Encoding = JSON
    """It waits as JSON and is packed when it leaves."""

    def dumps(self) -> bytes:
        """As bytes for a spool."""
        key = f"{self.key}{_BEFORE_SLOT}{self.slot}" if self.slot else self.key
        return b"\0".join((self.source.encode(), key.encode(), self.body))

    @staticmethod
    def loads(data: bytes) -> Message:
        """What `dumps` wrote."""
        source, named, body = data.split(b"\0", 2)
        key, _, slot = named.decode().partition(_BEFORE_SLOT)
        return Message(source.decode(), key, body, slot)


_BEFORE_SLOT = "\x1f"


def numbered(key: str) -> tuple[str, tuple[int, int, int]]:
    """Whose key it is, and where in that run it stands: epoch, frame, event; the end comes last.

    Raises:
        ValueError: it is no key of a message.
    """
    run, source, *place = key.split(":")
    if place == ["end"]:
        return f"{run}:{source}", (_END, 0, 0)
    epoch, frame, event = place if len(place) > 2 else (*place, "0")
    return f"{run}:{source}", (int(epoch), int(frame), int(event))


_END = (1 << 53) - 1


class NotSent(SinkError):
    """A batch was not taken, or not as a whole.

    Args:
        message: one line, without secrets.
        acknowledged: so many messages from the left were taken.
    """

    def __init__(self, message: str, acknowledged: int = 0) -> None:
        super().__init__(message, acknowledged)
        self.message = message
        self.acknowledged = acknowledged

    def __str__(self) -> str:
        return self.message


class Unreachable(NotSent):
    """The service is not there, busy or out of room: what it has not taken is sent again.

    Args:
        message: one line, without secrets.
        acknowledged: so many messages from the left were taken.
        retry_after_s: it asks not to be called before.
    """

    def __init__(self, message: str, acknowledged: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(message, acknowledged)
        self.retry_after_s = retry_after_s


class Rejected(NotSent):
    """The message behind those taken will never be taken; the others are sent again."""


class Unwelcome(NotSent):
    """The service is there and refuses us: credentials, permissions, what must exist and does not.

    A sink that was never welcome is lost; one that was goes on asking, more patiently.
    """


def together_or_each(batch: Sequence[Message], send: Callable[[Sequence[Message]], None]) -> None:
    """Send a batch of which a part may be refused as a whole; then find out who is to blame.

    Raises:
        NotSent: with how many were taken before.
    """
    try:
        send(batch)
    except Rejected as refused:
        if len(batch) == 1:
            raise
        for number in range(refused.acknowledged, len(batch)):
            try:
                send([batch[number]])
            except NotSent as error:
                error.acknowledged = number
                raise


def too_large(size: int, limit: int) -> str:
    """Why a message that is larger than a service takes, or than it is to be, is rejected."""
    return f"a message of {size} bytes is too large, at most {limit} are taken"


class Client(Protocol):
    """One service. All calls come from one thread; none may block for more than some ten seconds.

    What it raises beyond `NotSent` is a bug and ends the sink.
    """

    batch: int
    """Messages it is given in one call, at most."""

    def connect(self) -> None:
        """Be ready to send; called again after every failure, behind `close`.

        Raises:
            Unreachable: it is not there.
            Unwelcome: it does not let us in.
        """

    def send(self, batch: Sequence[Message]) -> None:
        """Send messages in their order; returns once the service has taken every one of them.

        Taken means what the docstring of the client says. What was sent and not acknowledged comes
        again, with the same key.

        Raises:
            NotSent: which kind says what is to be done.
        """

    def close(self) -> None:
        """Let go of the connection; safe to call twice, whatever state it is in."""


@runtime_checkable
class Limited(Client, Protocol):
    """A client that knows how large a message may be: it is given none that is larger."""

    limit: int | None
    """Bytes of a message with all that is written around it; None: it is not known, or not yet."""
    around: int
    """Bytes beside the body, at most."""


@runtime_checkable
class Gathering(Client, Protocol):
    """A client that is given all messages of a slot in one call: what comes together stays so.

    A batch has one slot. It is handed over when a message of another is behind it, when it is as
    large as may be, when the stream has ended, or when nothing has come for a while.
    """

    batch_bytes: int
    """Bytes of messages it is given in one call, about; the rest of their slot follows."""
    patience_s: float
    """For how long a slot waits for more while nothing comes."""
