"""Passwords: held in a type that does not show them, and taken out of whatever is logged.

Masking where a text is made is the first line; the second is `hide_in_logs`, which looks for the
values themselves, however they are written, in every record of this process.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import os
import re
import threading
import traceback
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from pipeline.plain import plain
from pipeline.reading import read_small

MASK = "***"
_SHORTEST = 3
"""A shorter value is no secret worth the name, and would turn up in every other word."""
_MAX_BYTES = 4096
_USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")
# where a secret lies is none, nor is the routing key of AMQP
_SECRET_KEYS = re.compile(
    r"(?i)([?&](?!(?:(?:password|secret|tls_key)_(?:env|file)|routing_key)=)[^=&#\s]*"
    r"(?:pass|pas(?==)|pwd|psw|token|secret|key|auth|credential|sig(?==|nature))[^=&#\s]*=)"
    r"[^&#\s]*"
)


class Secret:
    """A value whose text form is `***`; `reveal` gives the value, for the one place it is needed.

    Its value is known to `scrub` from the moment it is made, also after being unpickled.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        remember(value)

    def reveal(self) -> str:
        """The value itself; never to be kept, formatted or logged."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self._value,)


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret lies. This travels instead of it; it is read where it is used, every time."""

    env: str | None = None
    """Name of an environment variable; counts first."""
    file: str | None = None

    def read(self, what: str = "password") -> str | None:
        """The secret itself; None where no place is named.

        Args:
            what: the options that name its place begin with this.

        Raises:
            ValueError: it is not where it should be, one line.
        """
        if self.env is not None:
            if self.env not in os.environ:
                raise ValueError(f"the environment has no {self.env} ({what}_env)")
            return os.environ[self.env]
        if self.file is None:
            return None
        try:
            data = read_small(self.file, max_bytes=_MAX_BYTES)
            return data.decode("utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ValueError(f"{what}_file {self.file} cannot be read: {reason}") from error


def mask_url(url: str) -> str:
    """A URL without user name, password and secret-looking options."""
    return _SECRET_KEYS.sub(rf"\1{MASK}", _USER_INFO.sub(f"{MASK}@", url))


class Scrubber:
    """Takes secrets it was told out of texts, in every form they may be written in. Any thread."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def remember(self, value: str, *, user: str | None = None) -> None:
        """From now on `scrub` takes this value out.

        Args:
            value: the secret.
            user: the name it belongs to; the two together make HTTP's basic authentication.
        """
        if len(value) < _SHORTEST:
            return
        plain = unquote(value)
        forms = {value, plain}
        for text in (value, plain):
            forms |= {quote(text, safe=""), quote(text), quote_plus(text)}
            forms |= {json.dumps(text)[1:-1], repr(text)[1:-1]}
            if user is not None:
                forms.add(base64.b64encode(f"{user}:{text}".encode()).decode())
        with self._lock:
            self._forms |= {form for form in forms if len(form) >= _SHORTEST}
            longest_first = sorted(self._forms, key=len, reverse=True)
            # percent-encoding may be in small or capital letters
            self._pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)

    def scrub(self, text: str) -> str:
        """`text` without any secret that is known."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)


PROCESS = Scrubber()
"""What is known in this process; every `Secret` is told to it."""
remember, scrub = PROCESS.remember, PROCESS.scrub


def hide_in_logs() -> None:
    """Scrub every log record of this process, message and traceback, and show it in plain lines.

    Safe to call again.
    """
    factory = logging.getLogRecordFactory()
    if getattr(factory, "scrubs", False):
        return

    def scrubbing(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong format string is for the handler to tell
            return record
        clean = plain(scrub(message))
        if clean != message:
            record.msg, record.args = clean, None
        if record.exc_info and record.exc_info[0] is not None:
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            record.exc_text = "\n".join(map(plain, scrub(trace).split("\n")))
        return record

    scrubbing.scrubs = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(scrubbing)
