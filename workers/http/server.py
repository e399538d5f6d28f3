"""`/metrics`, `/healthz` and `/readyz` of a run, on a loopback address, read only."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from pipeline.errors import ConfigError
from pipeline.metrics.counts import RunCounts
from pipeline.metrics.prometheus import CONTENT_TYPE, exposition

log = logging.getLogger(__name__)

Reply: TypeAlias = tuple[int, str, bytes]
"""Status, content type and body."""
Request: TypeAlias = socket.socket | tuple[bytes, socket.socket]
"""What the standard library says a request may be."""

_LOOK_S = 0.05

MAX_CONNECTIONS = 64
"""At one time; each costs a thread until it has asked, or for ten seconds."""


@contextmanager
def serve(
    host: str,
    port: int | None,
    *,
    counts: Callable[[], RunCounts],
    healthy: Callable[[], bool] = lambda: True,
) -> Iterator[int | None]:
    """Answer until the block is left.

    Args:
        host: loopback address to listen on.
        port: 0 picks a free one; None: serve nothing.
        counts: what there is to see; called in other threads.
        healthy: whether the run is still watched over.

    Yields:
        The port, None when nothing is served.

    Raises:
        ConfigError: the port cannot be had.
    """
    if port is None:
        yield None
        return
    server = _server(host, port, counts, healthy)
    thread = threading.Thread(  # whoever ends it waits until it looks up
        target=server.serve_forever, args=(_LOOK_S,), name="http", daemon=True
    )
    thread.start()
    taken = int(server.server_address[1])
    log.info("metrics at http://%s:%d/metrics", host, taken)
    try:
        yield taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5.0)


def _server(
    host: str, port: int, counts: Callable[[], RunCounts], healthy: Callable[[], bool]
) -> ThreadingHTTPServer:
    def answer(target: str) -> Reply:
        path = target.partition("?")[0]
        if path == "/metrics":
            return 200, CONTENT_TYPE, exposition(counts())
        if path == "/healthz":
            return _verdict(healthy())
        if path == "/readyz":
            return _verdict(healthy() and counts().ready)
        return 404, "text/plain", b"see /metrics, /healthz and /readyz\n"

    try:
        return _Server(host, port, answer)
    except OSError as error:
        raise ConfigError(
            f"metrics.port: cannot listen on {host}:{port}: {error.strerror}; "
            "choose another, or 0 for a free one"
        ) from error


def _verdict(good: bool) -> Reply:
    return (200, "text/plain", b"ok\n") if good else (503, "text/plain", b"not now\n")


class _Server(ThreadingHTTPServer):
    """Hands every path to `answer`, a thread a connection; the oldest gives way to the newest.

    An answer takes milliseconds, so who is connected for longest among many says nothing.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, answer: Callable[[str], Reply]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.answer = answer
        self._open: dict[socket.socket, None] = {}
        self._door = threading.Lock()
        super().__init__((host, port), _Handler)

    def process_request(self, request: Request, client_address: Any) -> None:
        """Answer one connection, in a thread."""
        assert isinstance(request, socket.socket)  # noqa: S101 - it is no datagram server
        with self._door:
            self._open[request] = None
            if len(self._open) > MAX_CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with suppress(OSError):  # it went by itself
                    oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Request) -> None:
        """Close one connection."""
        assert isinstance(request, socket.socket)  # noqa: S101 - it is no datagram server
        with self._door:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Request, client_address: Any) -> None:
        """A client that left early is no news either; anything else is ours, in one line."""
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        log.log(level, "metrics: no answer to %s: %r", client_address, error)


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD, one answer a connection."""

    timeout = 10.0
    server_version = "maskstream"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without the body."""
        self._send(with_body=False)

    def _send(self, *, with_body: bool) -> None:
        assert isinstance(self.server, _Server)  # noqa: S101 - nobody else makes handlers
        status, kind, body = self.server.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news."""
        log.debug(format, *args)
