"""`https://HOST/PATH`: records posted to an address of the user's."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

from pipeline._version import __version__
from pipeline.delivery.client import (
    Message,
    NotSent,
    Rejected,
    Unreachable,
    Unwelcome,
    together_or_each,
)
from pipeline.delivery.service import ServiceSink
from pipeline.errors import ConfigError
from pipeline.secrets import Secret, SecretRef
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import ServicePlace, open_service, place_of
from pipeline.sinks.tls import distrust

TIMEOUT_S = 10.0
_READ_BYTES = 64 << 10
"""So much of an answer is read to keep its connection; nobody needs what it says."""
_SHOWN = 120
_LATER = {408, 425, 429}
_NOT_FOR_US = {
    401: "check user name and password, or the token",
    403: "check user name and password, or the token, and rights",
    404: "nothing takes records at this address",
    405: "nothing takes records at this address",
    407: "a proxy asks for a password",
    410: "nothing takes records at this address any more",
}


class WebhookClient:
    """Taken means that the receiver has answered with 2xx.

    At least once: an answer that is lost on its way makes a message come again, with the same
    `Idempotency-Key`. No redirect is followed: nobody but who was named gets to see anything.

    Args:
        place: the address, and who we are there; a password without a name is a bearer token.
        batch: records in one request, at most; with more than one they are JSON lines.
        secret: signs the body; None: it is not signed.
    """

    def __init__(self, place: ServicePlace, *, batch: int, secret: Secret | None) -> None:
        self.batch = batch
        self._place = place
        self._url = httpx2.URL(f"{place}/{place.path}")
        self._secret = secret
        self._headers = {"User-Agent": f"maskstream/{__version__}"}
        self._auth: httpx2.Auth | None = None
        if place.username is not None:
            word = "" if place.password is None else place.password.reveal()
            self._auth = httpx2.BasicAuth(place.username, word)
        elif place.password is not None:
            self._headers["Authorization"] = f"Bearer {place.password.reveal()}"
        tls = place.tls
        # without TLS, a context that trusts nobody: the system's certificates take time to read
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls is None else tls.context()
        self._http = self._opened()

    def connect(self) -> None:
        """Nothing can be asked there without a message: the first one tells."""
        if self._http.is_closed:
            self._http = self._opened()

    def send(self, batch: Sequence[Message]) -> None:
        """Post all in one request; one by one where the receiver refuses them together."""
        together_or_each(batch, self._post)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _opened(self) -> httpx2.Client:
        return httpx2.Client(
            headers=self._headers, auth=self._auth, verify=self._context, timeout=TIMEOUT_S
        )

    def _post(self, batch: Sequence[Message]) -> None:
        body = b"\n".join(message.body for message in batch)
        kind = "application/json" if self.batch == 1 else "application/x-ndjson"
        headers = {"Content-Type": kind, **batch[0].encoding.headers}
        headers["Idempotency-Key"] = ",".join(message.key for message in batch)
        if self._secret is not None:
            digest = hmac.digest(self._secret.reveal().encode(), body, hashlib.sha256)
            headers["Maskstream-Signature"] = f"sha256={digest.hex()}"
        try:
            with self._http.stream("POST", self._url, content=body, headers=headers) as answer:
                said = bytearray()
                for chunk in answer.iter_raw():
                    said += chunk
                    if len(said) > _READ_BYTES:
                        break
        except (httpx2.TransportError, OSError) as error:
            if reason := distrust(error):
                raise Unwelcome(f"{self._place}: {reason}") from error
            raise Unreachable(f"{self._place}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise self._told(answer, len(body), bytes(said[:_SHOWN]))

    def _told(self, answer: httpx2.Response, size: int, said: bytes) -> NotSent:
        code = answer.status_code
        text = f"{self._place}: answers {code}"
        if code in _NOT_FOR_US:
            return Unwelcome(f"{text}: {_NOT_FOR_US[code]}")
        if 300 <= code < 400:
            return Unwelcome(f"{text}: redirects are not followed; name the new address")
        if code in _LATER or not 400 <= code < 500:
            return Unreachable(text, retry_after_s=_retry_after_s(answer.headers))
        words = " ".join(said.decode("utf-8", "replace").split())
        return Rejected(f"{text} to {size} bytes" + (f": {words}" if words else ""))


def _retry_after_s(headers: httpx2.Headers) -> float:
    """For how long it asks to be left alone."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        due = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (due.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def open_webhook(target: SinkTarget) -> ServiceSink:
    """Open `https://HOST/PATH`.

    Raises:
        ConfigError: the address is none, or the secret is not where it should be.
    """
    place, options = place_of(target), target.options
    try:
        word = SecretRef(options["secret_env"], options["secret_file"]).read("secret")
        secret = None if word is None else Secret(word)
        client = WebhookClient(place, batch=options["batch"], secret=secret)
    except (ValueError, httpx2.InvalidURL) as error:
        raise ConfigError(f"sink {place}: {error}") from error
    return open_service(target, client)
