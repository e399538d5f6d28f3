"""A web application, served by uvicorn in a thread until the block is left."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.errors import ConfigError
from pipeline.service.entrance import Entrance, EntranceConfig

log = logging.getLogger(__name__)
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what is no HTTP is no news

_STARTS_WITHIN_S = 10.0
_ENDS_WITHIN_S = 2
"""Seconds for answers under way; pictures and events have no end of their own."""


@contextmanager
def listening(
    app: Any, host: str, port: int, *, key: str, tls: tuple[str, str] | None = None
) -> Iterator[int]:
    """Serve until the block is left.

    Args:
        app: an ASGI application.
        host: address to listen on.
        port: 0 picks a free one.
        key: what the address is called in the settings, for the message.
        tls: files of a certificate and its key to answer with; None: in plain text.

    Yields:
        The port.

    Raises:
        ConfigError: the port cannot be had.
    """
    taken = Entrance.of(_socket(host, port, key=key))
    server = _server(app, taken, tls)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [taken]}, name="http", daemon=True
    )
    thread.start()
    try:
        _wait_until_started(server, thread)
        yield int(taken.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=_ENDS_WITHIN_S + 3.0)
        taken.close()


def _server(app: Any, entrance: Entrance, tls: tuple[str, str] | None) -> uvicorn.Server:
    cert, key = tls or (None, None)
    config = EntranceConfig(
        _in_one_line(app),
        entrance,
        ssl_certfile=cert,
        ssl_keyfile=key,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_ENDS_WITHIN_S,
        proxy_headers=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # of pictures it would gain nothing
    )
    return uvicorn.Server(config)


def _in_one_line(app: ASGIApp) -> ASGIApp:
    """The application, whose own faults are one line in the log; its client has got a 500."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except Exception as error:
            what = f"{scope.get('method', 'WebSocket')} {scope.get('path')}"
            log.error("no answer to %s: %r", what, error)
            log.debug("where it comes from", exc_info=error)

    return answer


def _socket(host: str, port: int, *, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"{key}: cannot listen on {host}:{port}: {_reason(error)}; "
            "choose another, or 0 for a free one"
        ) from error


def _reason(error: OSError) -> str:
    """In the system's words; those of `create_server` say the address once more."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return str(error.strerror)
    return os.strerror(error.errno)


def _wait_until_started(server: Any, thread: threading.Thread) -> None:
    until_s = time.monotonic() + _STARTS_WITHIN_S
    while not server.started and thread.is_alive() and time.monotonic() < until_s:
        time.sleep(0.01)
