"""One HTTP request and its answer: credentials for one host, bounded redirects, a deadline."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.request
import weakref
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.sources.network.address import Address
from pipeline.sources.network.link import LinkError, Opening
from pipeline.sources.network.reach import MAX_REDIRECTS, HomeRange, check_step

_CODES = {
    401: "authentication refused (401); check user name and password",
    403: "access forbidden (403); check what this user may see",
    404: "no such stream there (404); check the path",
}


class Asking:
    """Asks for what one source needs.

    Args:
        address: user name and password are sent to its host alone, when it asks for them.
        how: limits and trust.
    """

    def __init__(self, address: Address, how: Opening) -> None:
        self._how = how
        self._reach = HomeRange(how.reach)
        self._connections: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if address.username is not None or address.password is not None:
            word = "" if address.password is None else address.password.reveal()
            host = urlsplit(address.bare).netloc
            places = [f"{address.scheme}://{host}", f"https://{address.host}"]
            known.add_password(None, places, address.username or "", word)
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            _Plain(self._prepared),
            _Encrypted(self._prepared, how),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(),
            _Basic(known),
            _Digest(known),
        ):
            self._opener.add_handler(handler)

    def ask(self, url: str, *, first: int, end: int | None) -> http.client.HTTPResponse:
        """The answer to a request for the bytes from `first` to before `end`; None: all that come.

        Raises:
            LinkError: there is none, or none that may be used.
        """
        request = urllib.request.Request(url, headers={"User-Agent": "maskstream"})  # noqa: S310
        request.add_header("Range", f"bytes={first}-{'' if end is None else end - 1}")
        late = threading.Event()

        def give_up() -> None:  # headers may come slowly, and never end
            late.set()
            self.cut()

        limit = threading.Timer(2 * self._how.open_timeout_s, give_up)
        limit.daemon = True
        limit.start()
        try:
            answer: http.client.HTTPResponse = self._opener.open(
                request, timeout=self._how.open_timeout_s
            )
        except (OSError, http.client.HTTPException, ValueError, LinkError) as error:
            reason = TimeoutError() if late.is_set() else error
            raise _said(reason, self._how) from None  # its text may name the full URL
        finally:
            limit.cancel()
        if late.is_set():
            answer.close()
            raise _said(TimeoutError(), self._how)
        for connection in list(self._connections):
            connection.settimeout(self._how.read_timeout_s)
        return answer

    def cut(self) -> None:
        """End whatever is being read; any thread."""
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _prepared(self, kind: type[Any], request: urllib.request.Request) -> Any:
        """A kind of connection that goes only where it may, and is known here."""
        reach, known = self._reach, self._connections
        by_proxy = request.has_proxy() or getattr(request, "_tunnel_host", None) is not None
        target = unquote(urlsplit(request.full_url).hostname or "")

        class Connection(kind):  # type: ignore[misc]
            def connect(self) -> None:
                if by_proxy:  # which may be anywhere: whoever runs this has chosen it
                    reach.judge(target)
                else:
                    self._create_connection = reach.connect
                super().connect()
                known.add(self.sock)

        return Connection


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, prepared: Callable[..., Any]) -> None:
        super().__init__()
        self._prepared = prepared

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._prepared(http.client.HTTPConnection, req), req)


class _Encrypted(urllib.request.AbstractHTTPHandler):
    def __init__(self, prepared: Callable[..., Any], how: Opening) -> None:
        super().__init__()
        self._prepared = prepared
        self._how = how

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        # reading the certificates of a system takes a while: not before they are needed
        context = self._how.trust.context()
        return self.do_open(self._prepared(http.client.HTTPSConnection, req), req, context=context)

    https_request = urllib.request.AbstractHTTPHandler.do_request_


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MAX_REDIRECTS

    def http_error_302(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any
    ) -> Any:
        """The next request, without credentials: they are given anew where they belong."""
        fp.close()  # urllib would read it, however long it is
        if target := headers.get("Location"):
            check_step(req.full_url, target)
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _Unread:
    """Beside one of the standard library's, which would read what is refused."""

    def http_error_401(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any
    ) -> Any:
        fp.close()
        return super().http_error_401(req, fp, code, msg, headers)  # type: ignore[misc]


class _Basic(_Unread, urllib.request.HTTPBasicAuthHandler):
    pass


class _Digest(_Unread, urllib.request.HTTPDigestAuthHandler):
    pass


def _said(error: Exception, how: Opening) -> LinkError:
    """What went wrong, in a few words of ours."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return refused(error.code)
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, LinkError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return LinkError(how.trust.refusal(error), patient=True)
    return LinkError(words_for(error, within_s=how.open_timeout_s))


def refused(code: int) -> LinkError:
    """What a status says that is no answer."""
    if code >= 500:
        return LinkError("the server reports an error of its own (5xx)")
    if code < 400:
        return LinkError(f"it redirects more than {MAX_REDIRECTS} times", patient=True)
    return LinkError(_CODES.get(code, "the server refuses the request (4xx)"), patient=True)


def words_for(error: Exception, *, within_s: float, speaks: str = "HTTP") -> str:
    """A failure of the network in a few words."""
    if isinstance(error, socket.gaierror):
        return "its name does not resolve"
    if isinstance(error, TimeoutError):
        return f"no answer within {within_s:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; nothing listens on this port"
    if isinstance(error, ConnectionResetError):
        return "connection reset by the other side"
    if isinstance(error, http.client.HTTPException | ConnectionError | ValueError):
        return f"what answers does not speak {speaks} as it should"
    return getattr(error, "strerror", None) or "the connection broke off"
