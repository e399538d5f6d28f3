"""`/metrics`, `/healthz` and `/readyz` of a run, on a loopback address, read only."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pipeline.errors import ConfigError
from pipeline.metrics.counts import RunCounts
from pipeline.metrics.prometheus import CONTENT_TYPE, exposition

log = logging.getLogger(__name__)


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
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
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
    class Handler(_Handler):
        def answer(self) -> tuple[int, str, bytes]:
            if self.path == "/metrics":
                return 200, CONTENT_TYPE, exposition(counts())
            if self.path == "/healthz":
                return _verdict(healthy())
            if self.path == "/readyz":
                return _verdict(healthy() and counts().ready)
            return 404, "text/plain", b"see /metrics, /healthz and /readyz\n"

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            log.exception("a request could not be answered")  # noqa: LOG004 - called inside one

    try:
        return Server((host, port), Handler)
    except OSError as error:
        raise ConfigError(
            f"metrics.port: cannot listen on {host}:{port}: {error.strerror}; "
            "choose another, or 0 for a free one"
        ) from error


def _verdict(good: bool) -> tuple[int, str, bytes]:
    return (200, "text/plain", b"ok\n") if good else (503, "text/plain", b"not now\n")


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD, one answer a connection."""

    timeout = 10.0
    server_version = "maskstream"
    sys_version = ""

    def answer(self) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer."""
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without the body."""
        self._send(with_body=False)

    def _send(self, *, with_body: bool) -> None:
        status, kind, body = self.answer()
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
