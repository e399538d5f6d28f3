"""`nats://HOST:PORT`: records in a JetStream of NATS, one subject a source."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from nats import errors
from nats.aio.client import Client
from nats.js import errors as js_errors

from pipeline.delivery.client import (
    Message,
    NotSent,
    Rejected,
    Unreachable,
    Unwelcome,
    numbered,
)
from pipeline.delivery.service import CALL_S, ServiceSink
from pipeline.sinks.eventloop import EventLoop
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import ServicePlace, open_service, place_of
from pipeline.sinks.tls import distrust

T = TypeVar("T")

TIMEOUT_S = 5.0
_TOO_LARGE_FOR_STREAM = 10054


class NatsClient:
    """Taken means that JetStream has stored the message as safely as its stream is configured to.

    Each message once and in order: its key is its `Nats-Msg-Id`, and behind a new connection what
    lies in the subject already is not sent again. One is sent when the one before was stored.

    Args:
        place: where NATS is; a password without a name is a token.
        subject: of the messages.
        creates: name and subject of the stream that is made where none takes the subject; None:
            that is said.
    """

    batch = 64
    around = 300
    """Its headers, at most."""

    def __init__(
        self, place: ServicePlace, *, subject: str, creates: tuple[str, str] | None
    ) -> None:
        self._place = place
        self._subject = subject
        self._creates = creates
        self._loop: EventLoop | None = None
        self._nats = Client()
        self.limit: int | None = None
        self._last: tuple[str, tuple[int, int, int]] | None = None
        self._said: Exception | None = None

    def connect(self) -> None:
        """Connect, see that a stream takes the subject, and what it has of it."""
        self._loop = EventLoop("nats")
        self._nats, self._said = Client(), None
        self._call(self._connect(), CALL_S / 2)
        self.limit = self._nats.max_payload
        self._call(self._look(), CALL_S / 2)

    def send(self, batch: Sequence[Message]) -> None:
        """Publish one after the other, each when the one before is stored."""
        for number, message in enumerate(batch):
            origin, at = numbered(message.key)
            if self._last is not None and origin == self._last[0] and at <= self._last[1]:
                continue
            try:
                self._call(self._publish(message))
            except NotSent as error:
                error.acknowledged = number
                raise

    def close(self) -> None:
        """Let go of the connection."""
        if self._loop is None:
            return
        try:
            self._loop.call(self._nats.close(), 1.0)  # it waits where TLS has failed
        except (errors.Error, OSError):  # TimeoutError is one
            pass
        finally:
            self._loop.close()
            self._loop = None

    async def _connect(self) -> None:
        place = self._place
        named, secret = place.username is not None, place.password is not None
        await self._nats.connect(
            str(place),
            tls=None if place.tls is None else place.tls.context(),
            allow_reconnect=False,  # who asks again is the courier
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=round(TIMEOUT_S),
            error_cb=self._note,
            user=place.username,
            password=self._reveal if named else None,
            token=self._reveal if secret and not named else None,
        )
        self._insist_on_tls()

    def _reveal(self) -> str:
        self._insist_on_tls()
        return "" if self._place.password is None else self._place.password.reveal()

    def _insist_on_tls(self) -> None:
        """The client would go on in the clear with a server that has no TLS."""
        if self._place.tls is not None and not self._nats._server_info.get("tls_required"):
            raise Unwelcome(f"{self._place}: it does not encrypt; leave tls=1 out or have it do so")

    async def _look(self) -> None:
        stream = self._nats.jetstream(timeout=TIMEOUT_S)
        try:
            name = await stream.find_stream_name_by_subject(self._subject)
        except js_errors.NotFoundError:
            if self._creates is None:
                raise
            name, subject = self._creates
            await stream.add_stream(name=name, subjects=[subject])
        try:
            last = await stream.get_last_msg(name, self._subject)
            self._last = numbered((last.headers or {}).get("Nats-Msg-Id", ""))
        except (js_errors.NotFoundError, errors.TimeoutError, ValueError):
            self._last = None  # nothing there, not for us to see, or not ours

    async def _publish(self, message: Message) -> None:
        stream = self._nats.jetstream(timeout=TIMEOUT_S)
        headers = {"Nats-Msg-Id": message.key, **message.encoding.headers}
        await stream.publish(self._subject, message.body, headers=headers)

    async def _note(self, error: Exception) -> None:
        self._said = error

    def _call(self, work: Coroutine[Any, Any, T], timeout_s: float = CALL_S) -> T:
        assert self._loop is not None  # noqa: S101 - the courier connects first
        try:
            return self._loop.call(work, timeout_s)
        except (errors.Error, js_errors.Error, OSError) as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> NotSent:
        said = f"{error} {self._said or ''}".lower()
        if reason := distrust(error):
            return Unwelcome(f"{self._place}: {reason}")
        if "authorization" in said or "authentication" in said or "permissions" in said:
            return Unwelcome(
                f"{self._place}: {self._said or error}; check user name, password and rights"
            )
        if isinstance(error, js_errors.NoStreamResponseError | js_errors.NotFoundError):
            return Unwelcome(
                f"{self._place}: no stream takes the subject {self._subject!r}; make one with "
                f"`nats stream add`, or leave create=0 out"
            )
        if isinstance(error, js_errors.APIError):
            text = f"{self._place}: {error.description}"
            if error.err_code == _TOO_LARGE_FOR_STREAM:
                return Rejected(f"{text} by the stream of {self._subject!r}")
            return Unreachable(text)
        return Unreachable(f"{self._place}: {self._said or error or type(error).__name__}")


def open_nats(target: SinkTarget) -> ServiceSink:
    """Open `nats://HOST:PORT`."""
    place, options = place_of(target), target.options
    subject = options["subject"].replace("{source}", target.source_id)
    creates = (options["stream"], _wide(options["subject"])) if options["create"] else None
    return open_service(target, NatsClient(place, subject=subject, creates=creates))


def _wide(subject: str) -> str:
    """What a stream has to take for all sources."""
    if subject.endswith(".{source}"):
        return subject.removesuffix("{source}") + ">"
    return ".".join("*" if "{source}" in word else word for word in subject.split("."))
