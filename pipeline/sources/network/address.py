"""The address of a live source: where to connect to, with what credentials, and how to show it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pipeline.secrets import Secret, mask_url, remember
from pipeline.sources.schemes import scheme_of


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart so that its text never holds a password. Make one with `parse`."""

    scheme: str | None
    """None for a device such as `/dev/video0`."""
    bare: str
    """The URL without user name and password; still with its query, so not for showing."""
    username: str | None = None
    password: Secret | None = field(default=None, repr=False)

    @staticmethod
    def parse(url: str, *, username: str | None = None, password: str | None = None) -> Address:
        """Take a URL apart; what is given beside it counts more than what is in it."""
        scheme = scheme_of(url)
        if scheme is None:
            return Address(None, url)
        parts = urlsplit(url)
        inside, _, host = parts.netloc.rpartition("@")
        name, _, word = inside.partition(":")
        address = Address(scheme, urlunsplit(parts._replace(scheme=scheme, netloc=host)))
        user = username if username is not None else unquote(name) or None
        word = password if password is not None else unquote(word)
        if word:
            remember(word, user=user)
        for _, value in _secret_options(parts.query):
            remember(value)
        return replace(address, username=user, password=Secret(word) if word else None)

    @property
    def host(self) -> str | None:
        """The name to resolve; None for a device."""
        return urlsplit(self.bare).hostname if self.scheme else None

    def full(self) -> str:
        """The URL to connect to, credentials and all; for FFmpeg alone."""
        if self.username is None and self.password is None:
            return self.bare
        parts = urlsplit(self.bare)
        who = quote(self.username or "", safe="")
        if self.password is not None:
            who += ":" + quote(self.password.reveal(), safe="")
        return urlunsplit(parts._replace(netloc=f"{who}@{parts.netloc}"))

    def __str__(self) -> str:
        shown = mask_url(self.bare)
        if self.username is None and self.password is None:
            return shown
        return shown.replace("://", "://***@", 1)


def _secret_options(query: str) -> list[tuple[str, str]]:
    """Keys and values of a query that look like secrets."""
    pairs = [pair.partition("=") for pair in query.split("&")]
    return [
        (key, value) for key, _, value in pairs if mask_url(f"?{key}=x") != f"?{key}=x" and value
    ]
