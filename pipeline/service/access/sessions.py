"""Browsers that have shown a token once: their cookies, in memory and for a while."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.service.access.tokens import Role, Tokens, digest

LASTS_S = 12 * 3600.0
MOST = 1000
"""The oldest gives way."""


@dataclass(frozen=True, slots=True)
class _Session:
    token: bytes
    """Digest of the token that was shown: when that is good no more, neither is this."""
    until_s: float


class Sessions:
    """All that are open; any thread. Kept by digest, so nothing here gives a cookie away."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[bytes, _Session] = {}

    def begin(self, token: str) -> str:
        """The value of a new cookie, for one who has shown a good token."""
        value = secrets.token_urlsafe(32)
        now_s = self._clock()
        with self._lock:
            self._open = {k: one for k, one in self._open.items() if one.until_s > now_s}
            if len(self._open) >= MOST:
                del self._open[next(iter(self._open))]
            self._open[digest(value)] = _Session(digest(token), now_s + LASTS_S)
        return value

    def role_of(self, value: str, tokens: Tokens) -> Role | None:
        """Of who shows this cookie."""
        with self._lock:
            session = self._open.get(digest(value))
        if session is None or session.until_s <= self._clock():
            return None
        return tokens.role_of_digest(session.token)

    def end(self, value: str) -> None:
        """Forget one."""
        with self._lock:
            self._open.pop(digest(value), None)
