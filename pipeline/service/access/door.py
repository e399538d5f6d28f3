"""Whether somebody may come in: by which name the service was asked for, from where, as whom."""

from __future__ import annotations

import ipaddress
import os
import ssl
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from pipeline.clock import Clock
from pipeline.config import ServeSettings
from pipeline.errors import ConfigError
from pipeline.service.access.sessions import Sessions
from pipeline.service.access.tokens import Role, Tokens, read_tokens

COOKIE = "maskstream"
MAKE_ONE = "make one with `maskstream serve --new-token FILE` and name it in serve.token_file"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    address: str
    role: Role | None
    """None: a token is needed, and no good one was shown."""
    tried: bool = False
    """A token was shown that is good no more, or never was."""
    encrypted: bool = False
    host: str = ""
    """By which name, and port."""


class Door:
    """Judges who asks; any thread.

    Args:
        serve: the settings.
        clock: seconds, monotonic; for cookies.

    Raises:
        ConfigError: others could reach the service, and it would ask for no token or send it in
            plain text; or a token cannot be read.
    """

    def __init__(self, serve: ServeSettings, *, clock: Clock = time.monotonic) -> None:
        self.sessions = Sessions(clock=clock)
        self.renew(serve)

    def renew(self, serve: ServeSettings) -> None:
        """Settings and token files as they are now; cookies of tokens that are gone end.

        Raises:
            ConfigError: as above; everything is as it was.
        """
        tokens = read_tokens(serve)
        check_exposure(serve, tokens)
        self.serve, self.tokens = serve, tokens

    @property
    def tls(self) -> tuple[str, str] | None:
        """Certificate and key to answer with."""
        cert, key = self.serve.tls_cert, self.serve.tls_key
        return None if cert is None or key is None else (cert, key)

    @property
    def asks(self) -> str:
        """In a few words, who may come in."""
        roles = list(self.tokens.roles.values())
        if not roles:
            return "no token is asked for"
        read = roles.count(Role.READ)
        return f"{len(roles) - read} token(s) may do everything, {read} look"

    def url(self, port: int) -> str:
        """Where the service is reached."""
        host = f"[{self.serve.host}]" if ":" in self.serve.host else self.serve.host
        return f"{'https' if self.tls else 'http'}://{host}:{port}"

    def caller(
        self, headers: Mapping[str, str], *, address: str, scheme: str, cookie: str | None
    ) -> Caller:
        """Who asks, by the headers of a request, names in small letters."""
        encrypted = scheme in ("https", "wss")
        if self.serve.behind_proxy:
            # what stands last was written by our own proxy, anything before it by anybody
            address = headers.get("x-forwarded-for", address).rpartition(",")[2].strip()[:64]
            encrypted = headers.get("x-forwarded-proto", "https") in ("https", "wss")
        role, tried = self._role(headers.get("authorization"), cookie)
        return Caller(address, role, tried, encrypted, headers.get("host", ""))

    def _role(self, authorization: str | None, cookie: str | None) -> tuple[Role | None, bool]:
        if not self.tokens:
            return Role.ADMIN, False
        if authorization is not None:
            kind, _, token = authorization.partition(" ")
            role = self.tokens.role_of(token.strip()) if kind.lower() == "bearer" else None
            return role, role is None
        if cookie is not None:  # one from before a restart is no attempt to guess
            return self.sessions.role_of(cookie, self.tokens), False
        return None, False

    def knows_host(self, host: str) -> bool:
        """Whether a `Host` is one of this service.

        A page of somebody else's, whose name was made to point here (DNS rebinding), asks by that
        name. Addresses cannot be made to point anywhere.
        """
        name = _name_of(host)
        if name is None:
            return False
        known = ("localhost", "*.localhost", self.serve.host, *self.serve.hosts)
        return _is_address(name) or any(fnmatchcase(name, one.lower()) for one in known)

    def knows_origin(self, origin: str, caller: Caller) -> bool:
        """Whether a page that asks for a change was served from here."""
        scheme, _, place = origin.partition("://")
        own = "https" if caller.encrypted else "http"
        return scheme == own and place.lower() == caller.host.lower()


def check_exposure(serve: ServeSettings, tokens: Tokens) -> None:
    """Refuse to be reached by others without a token, or with one that travels in plain text.

    Raises:
        ConfigError: with the next step.
    """
    if serve.tls_cert is not None and serve.tls_key is not None:
        _check_certificate(serve.tls_cert, serve.tls_key)
    if serve.behind_proxy and not tokens:
        raise ConfigError(
            f"serve.behind_proxy: a proxy lets others in, and no token is asked for; {MAKE_ONE}"
        )
    if is_loopback(serve.host):
        return
    if not tokens:
        raise ConfigError(
            f"serve.host: {serve.host} can be reached from elsewhere, and no token is asked for; "
            f"{MAKE_ONE}, or listen on 127.0.0.1"
        )
    if serve.tls_cert is None and not serve.behind_proxy:
        raise ConfigError(
            f"serve.host: tokens would travel to {serve.host} in plain text; name serve.tls_cert "
            "and serve.tls_key, or say --behind-proxy where a proxy encrypts"
        )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_certificate(cert: str, key: str) -> None:
    try:
        mode = os.stat(key).st_mode
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        reason = (
            "they are no certificate and its key as PEM text"
            if isinstance(error, ssl.SSLError) or not isinstance(error, OSError)
            else f"cannot be read: {error.strerror}"
        )
        raise ConfigError(
            f"serve.tls_cert: {cert} with {key}: {reason}; name the certificate and its key, "
            "which has no password"
        ) from error
    if stat.S_IMODE(mode) & stat.S_IRWXO:
        raise ConfigError(
            f"serve.tls_key: {key}: can be read or written by everybody on this machine; "
            f"chmod 600 {key}"
        )


def _no_password() -> str:
    raise ValueError("the key has a password")


def _name_of(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        whole = parts.netloc == host and "@" not in host and parts.port != 0
        return parts.hostname if whole else None
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
