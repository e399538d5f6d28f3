"""What sinks that are services have in common: where they are, who we are there, their spool."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.delivery.client import Client
from pipeline.delivery.service import ServiceSink
from pipeline.delivery.spool import MessageSpool
from pipeline.errors import ConfigError
from pipeline.secrets import Secret, SecretRef, remember
from pipeline.sinks.schemes import SinkTarget, selection_of


@dataclass(frozen=True, slots=True)
class ServicePlace:
    """Where a service is, and who we are there; its text holds no password."""

    host: str
    port: int | None
    path: str
    """Without the slash in front."""
    username: str | None = None
    password: Secret | None = None

    @staticmethod
    def parse(location: str) -> ServicePlace:
        """Read `//user:password@host:port/path`.

        Raises:
            ValueError: what is wrong with it, without anything of what it holds.
        """
        try:
            parts = urlsplit(location)
            port = parts.port
        except ValueError:
            raise ValueError("the port must be a number up to 65535") from None
        if not location.startswith("//") or not parts.hostname:
            raise ValueError("expected //HOST:PORT behind the colon")
        word = unquote(parts.password or "")
        if word:
            remember(word, user=unquote(parts.username or ""))
        return ServicePlace(
            host=parts.hostname,
            port=port,
            path=parts.path.lstrip("/"),
            username=unquote(parts.username) if parts.username else None,
            password=Secret(word) if word else None,
        )

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


def place_of(target: SinkTarget) -> ServicePlace:
    """Where a sink goes, with the password from where its options say it lies.

    Raises:
        ConfigError: the password is not there.
    """
    place, options = ServicePlace.parse(target.location), target.options
    try:
        word = SecretRef(options["password_env"], options["password_file"]).read()
    except ValueError as error:
        raise ConfigError(f"sink {target.scheme}://{place}: {error}") from error
    password = place.password if word is None else Secret(word)
    return ServicePlace(
        place.host, place.port, place.path, options["username"] or place.username, password
    )


def open_service(target: SinkTarget, client: Client) -> ServiceSink:
    """A sink that delivers to this client.

    Raises:
        SinkError: its spool cannot be used.
    """
    folder = target.spool or Path(".maskstream", f"{target.source_id}-{target.scheme}.spool")
    spool = MessageSpool(folder, limit_bytes=target.options["spool_mb"] * 1_000_000)
    return ServiceSink(client, spool, selection_of(target))
