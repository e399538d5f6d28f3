"""What every request passes before the API sees it: HTTP and WebSockets alike.

Nothing behind it has to think of who asks: what comes through may be asked by whoever did. It is
plain ASGI, because only here a body can be refused before it is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.service.access import audit
from pipeline.service.access.door import COOKIE, Caller, Door
from pipeline.service.access.limits import AccessLimits, Allowance
from pipeline.service.access.tokens import Role
from pipeline.service.problem import problem

HEALTH = frozenset({"/livez", "/readyz", "/healthz"})
"""Asked by those that start services again, by whatever name or none: open, and answered however
much is asked for."""
SESSION = "/v1/session"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"frame-ancestors 'none'",
    b"cache-control": b"no-store",
}
"""Of every answer that does not say otherwise itself."""


class NotAdmitted(Exception):
    """An answer instead of that of the API."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.answer: Response = problem(status, detail, headers=headers or None)


class Gate:
    """An ASGI application before another.

    Args:
        app: what lies behind.
        door: judges who asks.
        limits: how much anybody may ask for.
    """

    def __init__(self, app: ASGIApp, door: Door, limits: AccessLimits | None = None) -> None:
        self._app, self._door = app, door
        self._limits = limits = limits or AccessLimits()
        self._changes = Allowance(limits.changes, limits.changes_per_s)
        self._wrong = Allowance(limits.wrong_tokens, limits.wrong_tokens_per_s)
        self._under_way = {True: 0, False: 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request or WebSocket through, or answer it here."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        caller = self._caller(scope)
        changing = scope.get("method", "GET") not in READING
        most = self._limits.changing_at_once if changing else self._limits.at_once
        if scope["path"] not in HEALTH and self._under_way[changing] >= most:
            refusal = NotAdmitted(503, "too much is asked for at once", **{"Retry-After": "1"})
            await _refuse(scope, receive, send, refusal)
            return
        self._under_way[changing] += 1
        try:
            await self._admit(scope, receive, send, caller, changing=changing)
        finally:
            self._under_way[changing] -= 1

    async def _admit(
        self, scope: Scope, receive: Receive, send: Send, caller: Caller, *, changing: bool
    ) -> None:
        method = scope.get("method", "GET")
        body, status = b"", [0]
        headers = _headers(scope)
        try:
            self._judge(scope, headers, caller, changing=changing)
            if changing:
                body = await self._body(headers, receive)
                receive = _replaying(body, receive)
        except NotAdmitted as refusal:
            status[0] = refusal.status
            await _refuse(scope, receive, _protected(send, status), refusal)
        else:
            scope.setdefault("state", {})["caller"] = caller
            if method == "HEAD":  # the server leaves the body out
                scope = {**scope, "method": "GET"}
            await self._app(scope, receive, _protected(send, status))
        finally:
            if changing and status[0] != 429:
                audit.note(caller, method, scope["path"], body, status[0])

    def _judge(
        self, scope: Scope, headers: Mapping[str, str], caller: Caller, *, changing: bool
    ) -> None:
        path: str = scope["path"]
        if path not in HEALTH and not self._door.knows_host(caller.host):
            raise NotAdmitted(
                403, f"this service is not called {caller.host[:64]!r}; name it in serve.hosts"
            )
        if changing or scope["type"] == "websocket":
            self._judge_origin(headers, caller)
        if changing and not self._changes.takes(caller.address):
            wait = str(self._changes.retry_after_s)
            raise NotAdmitted(429, "too many changes in a row", **{"Retry-After": wait})
        if caller.role is None and not _is_open(path, scope):
            self._judge_token(scope, caller)
        if caller.role is Role.READ and changing and path != SESSION:
            raise NotAdmitted(
                403, "this token is for looking; a change needs one of serve.token_file"
            )

    def _judge_origin(self, headers: Mapping[str, str], caller: Caller) -> None:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and not self._door.knows_origin(origin, caller):
            raise NotAdmitted(403, f"a page of {origin[:64]!r} may not ask {caller.host[:64]!r}")
        by_cookie = "cookie" in headers and "authorization" not in headers
        if origin is None and (site or "same-origin") not in ("same-origin", "none"):
            raise NotAdmitted(403, "a page of another site may not ask this service")
        if origin is None and site is None and by_cookie:
            raise NotAdmitted(403, "who comes with a cookie says in Origin from which page")

    def _judge_token(self, scope: Scope, caller: Caller) -> None:
        if not caller.tried:
            raise NotAdmitted(
                401,
                "a token is needed: `Authorization: Bearer TOKEN`, or log in at /v1/session",
                **{"WWW-Authenticate": "Bearer"},
            )
        if not self._wrong.takes(caller.address):
            wait = str(self._wrong.retry_after_s)
            raise NotAdmitted(429, "too many wrong tokens", **{"Retry-After": wait})
        audit.note_wrong_token(caller, scope.get("method", "WebSocket"), scope["path"])
        raise NotAdmitted(
            401,
            "this token is not known; look into the file of serve.token_file",
            **{"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """All of the body; whoever sends too much of it, or too slowly, is answered before."""
        most = self._limits.body_bytes
        # not closed at once, or the answer would be lost: the server reads on for a while
        too_much = NotAdmitted(413, f"a body has at most {most} bytes")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > most:
            raise too_much
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_within_s):
                while True:
                    message = await receive()
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise too_much
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise NotAdmitted(408, "the body came too slowly", Connection="close") from None

    def _caller(self, scope: Scope) -> Caller:
        headers = _headers(scope)
        client = scope.get("client")
        return self._door.caller(
            headers,
            address=client[0] if client else "",
            scheme=scope.get("scheme", "http"),
            cookie=_cookie(headers.get("cookie", "")),
        )


def _is_open(path: str, scope: Scope) -> bool:
    """Whether it is answered without a token; the page's files hold nothing of the streams."""
    page = path in ("/", "/docs", "/favicon.ico") or path.startswith("/page/")
    return scope["type"] == "http" and (path in HEALTH or path == SESSION or page)


def _headers(scope: Scope) -> dict[str, str]:
    """By name in small letters; of several the first counts, as nothing here may differ twice."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


def _cookie(header: str) -> str | None:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def _replaying(body: bytes, receive: Receive) -> Receive:
    """`receive` for what lies behind, after the body has been read here."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again


def _protected(send: Send, status: list[int]) -> Send:
    """Every answer with the headers that browsers are to mind; its status is noted."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            status[0] = message["status"]
            said: list[Any] = list(message.get("headers", ()))
            names = {name.lower() for name, _ in said}
            more = [(name, value) for name, value in HEADERS.items() if name not in names]
            message = {**message, "headers": [*said, *more]}
        await send(message)

    return with_headers


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: NotAdmitted) -> None:
    if scope["type"] == "websocket":
        await receive()  # its `websocket.connect`
        await send({"type": "websocket.close", "code": 1008, "reason": str(refusal)[:100]})
        return
    await refusal.answer(scope, receive, send)
