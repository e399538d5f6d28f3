"""What sinks that are services have in common: where they are, who we are there, their spool."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.delivery.client import Client
from pipeline.delivery.packing import Packing
from pipeline.delivery.service import ServiceSink
from pipeline.delivery.spool import MessageSpool
from pipeline.delivery.teller import EventTeller, FrameTeller
from pipeline.errors import ConfigError
from pipeline.formats.encoded import ENCODINGS
from pipeline.formats.selected import Selection
from pipeline.secrets import Secret, SecretRef, remember
from pipeline.sinks.schemes import SinkTarget, log_of, selection_of
from pipeline.sinks.tls import Tls

_WEB = ("http", "https")
"""Whose paths may hold an @."""
WRITTEN = "in a name or password / is written %2F, # %23, ? %3F and @ %40"
"""What to do where a password was taken for something else."""


@dataclass(frozen=True, slots=True)
class ServicePlace:
    """Where a service is, and who we are there; its text holds no password."""

    scheme: str
    host: str
    port: int | None
    path: str
    """Without the slash in front."""
    username: str | None = None
    password: Secret | None = None
    tls: Tls | None = None

    @staticmethod
    def parse(scheme: str, location: str) -> ServicePlace:
        """Read `//user:password@host:port/path`.

        Raises:
            ValueError: what is wrong with it, without anything of what it holds.
        """
        try:
            parts = urlsplit(location)
            port = parts.port
        except ValueError:
            raise ValueError(f"the port must be a number up to 65535; {WRITTEN}") from None
        if not location.startswith("//") or not parts.hostname or port == 0:
            raise ValueError("expected //HOST:PORT behind the colon")
        astray = "@" in parts.path and scheme not in _WEB
        if astray or re.search(r"[\s#]", location):
            raise ValueError(f"blanks, # and a second @ have no place in it; {WRITTEN}")
        word = unquote(parts.password or "")
        if word:
            remember(word, user=unquote(parts.username or ""))
        return ServicePlace(
            scheme=scheme,
            host=parts.hostname,
            port=port,
            path=parts.path.lstrip("/"),
            username=unquote(parts.username) if parts.username else None,
            password=Secret(word) if word else None,
        )

    @property
    def host_and_port(self) -> str:
        """As a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_and_port}"


def place_of(target: SinkTarget) -> ServicePlace:
    """Where a sink goes, with the password from where its options say it lies.

    Raises:
        ConfigError: the password is not there, or a certificate cannot be used.
    """
    place, options = ServicePlace.parse(target.scheme, target.location), target.options
    tls = tls_of(place, options)
    try:
        word = SecretRef(options["password_env"], options["password_file"]).read()
    except ValueError as error:
        raise ConfigError(f"sink {place}: {error}") from error
    password = place.password if word is None else Secret(word)
    username = options.get("username") or place.username
    return replace(place, username=username, password=password, tls=tls)


def tls_of(place: ServicePlace, options: Mapping[str, Any]) -> Tls | None:
    """How the connection is encrypted; None: it is not.

    Raises:
        ConfigError: a certificate cannot be used.
    """
    if "tls_ca_file" not in options or not options.get("tls", True):
        return None
    tls = Tls(*(options.get(f"tls_{key}_file") for key in ("ca", "cert", "key")))
    try:
        tls.context()
    except OSError as error:  # ssl.SSLError is one
        named = [path for path in (tls.ca_file, tls.cert_file, tls.key_file) if path is not None]
        raise ConfigError(
            f"sink {place}: no certificates to use in {', '.join(named)}: "
            f"{error.strerror or error}; expected PEM"
        ) from error
    return tls


def open_service(
    target: SinkTarget,
    client: Client,
    selection: Selection | None = None,
    *,
    slice_s: int | None = None,
) -> ServiceSink:
    """A sink that delivers to this client.

    Args:
        target: of the sink.
        client: of the service.
        selection: what is in a record; None: what the target's options say.
        slice_s: what goes together is of one such period of the source's own time; None: each
            record goes for itself.

    Raises:
        SinkError: its spool cannot be used.
    """
    folder = target.spool or Path(".maskstream", f"{target.source_id}-{target.scheme}.spool")
    spool = MessageSpool(folder, limit_bytes=target.options["spool_mb"] * 1_000_000)
    told = FrameTeller(selection or selection_of(target))
    teller = EventTeller(log_of(target)) if target.events else told
    packing = Packing(ENCODINGS[target.options.get("encoding", "json")], target.options.get("size"))
    return ServiceSink(client, spool, teller, slice_s=slice_s, packing=packing)
