"""Asks a running service over HTTP, for the verbs that speak to one."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

import typer

from pipeline.errors import ConfigError, MaskstreamError
from pipeline.reading import read_small

DEFAULT = "http://127.0.0.1:8710"
TIMEOUT_S = 10.0
_MAX_TOKEN_BYTES = 4096

ServiceUrl = Annotated[
    str,
    typer.Option("--service", envvar="MASKSTREAM_SERVICE", metavar="URL", help="Of the service."),
]
ServiceToken = Annotated[
    str | None,
    typer.Option(
        envvar="MASKSTREAM_TOKEN_FILE", metavar="FILE", help="Holds the token of the service."
    ),
]
CaFile = Annotated[
    str | None, typer.Option(metavar="PEM", help="Certificates to trust, beside the system's.")
]


class ServiceRefused(MaskstreamError):
    """The service has answered that it cannot be done."""


@dataclass(frozen=True, slots=True)
class RemoteService:
    """One service.

    Raises:
        ConfigError: of every method: the service cannot be reached, or wants a token.
        ServiceRefused: of every method: it has answered with a problem.
    """

    address: str = DEFAULT
    token_file: str | None = None
    ca_file: str | None = None

    def get(self, path: str) -> Any:
        """What stands there, as JSON."""
        return self._parsed(self.read("GET", path))

    def send(self, method: str, path: str, body: Any = None, *, within_s: float = TIMEOUT_S) -> Any:
        """Have something done; None where the answer is empty."""
        data = self.read(method, path, body, within_s=within_s)
        return self._parsed(data) if data else None

    def read(
        self, method: str, path: str, body: Any = None, *, within_s: float = TIMEOUT_S
    ) -> bytes:
        """The bytes of an answer."""
        if not self.address.startswith(("http://", "https://")):
            raise ConfigError(f"--service {self.address}: must be a URL such as {DEFAULT}")
        data = None if body is None else json.dumps(body).encode()
        request = Request(  # noqa: S310 - `_opener` knows HTTP alone
            self.address.rstrip("/") + path,
            data=data,
            method=method,
            headers=self._headers(data is not None),
        )
        try:
            with self._opener().open(request, timeout=within_s) as answer:
                found: bytes = answer.read()
                return found
        except HTTPError as error:
            raise self._refused(error) from error
        except (URLError, OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise ConfigError(
                f"no service answers at {self.address}: {reason}; start one with `maskstream "
                "serve`, or name its address with --service"
            ) from error

    def _parsed(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError as error:
            raise ConfigError(
                f"{self.address}: answers, and is no service of maskstream; name another --service"
            ) from error

    def _headers(self, with_body: bool) -> dict[str, str]:
        headers = {"Content-Type": "application/json"} if with_body else {}
        if self.token_file is not None:
            try:
                token = read_small(self.token_file, max_bytes=_MAX_TOKEN_BYTES).decode().strip()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
                raise ConfigError(f"{self.token_file}: cannot be read: {reason}") from error
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _opener(self) -> OpenerDirector:
        """Without a proxy on this machine: it would be asked for its own loopback address."""
        local = any(host in self.address for host in ("//127.", "//localhost", "//[::1]"))
        context = ssl.create_default_context()
        if self.ca_file is not None:
            if not os.path.isfile(self.ca_file):
                raise ConfigError(f"--ca-file {self.ca_file}: there is no such file")
            context.load_verify_locations(self.ca_file)
        handlers: list[Any] = [HTTPSHandler(context=context)]
        return build_opener(*handlers, *([ProxyHandler({})] if local else []))

    def _refused(self, error: HTTPError) -> MaskstreamError:
        try:
            with error:
                detail = json.loads(error.read(1 << 16))["detail"]
        except (OSError, ValueError, KeyError, TypeError):
            detail = error.reason
        if error.code == HTTPStatus.UNAUTHORIZED and self.token_file is None:
            return ConfigError(f"{self.address}: {detail}; name a token with --token-file")
        return ServiceRefused(f"{self.address}: {detail}")
