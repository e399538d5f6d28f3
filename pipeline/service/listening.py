"""A web application, served by uvicorn in a thread until the block is left."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from uvicorn import Config

log = logging.getLogger(__name__)

_BACKLOG = 128
_STARTS_WITHIN_S = 10.0
_WS_MESSAGE = 4096
"""Bytes; clients of a live stream only confirm what they got."""
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
    import uvicorn

    taken = _socket(host, port, key=key)
    server = uvicorn.Server(_config(app, tls))
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


def _config(app: Any, tls: tuple[str, str] | None) -> Config:
    import uvicorn

    cert, key = tls or (None, None)
    return uvicorn.Config(
        app,
        ssl_certfile=cert,
        ssl_keyfile=key,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_ENDS_WITHIN_S,
        proxy_headers=False,
        ws="websockets-sansio",
        ws_max_size=_WS_MESSAGE,
        ws_per_message_deflate=False,  # of pictures it would gain nothing
    )


def _socket(host: str, port: int, *, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"{key}: cannot listen on {host}:{port}: {error.strerror}; "
            "choose another, or 0 for a free one"
        ) from error


def _wait_until_started(server: Any, thread: threading.Thread) -> None:
    until_s = time.monotonic() + _STARTS_WITHIN_S
    while not server.started and thread.is_alive() and time.monotonic() < until_s:
        time.sleep(0.01)
