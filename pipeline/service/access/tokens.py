"""Tokens of two roles, known by their digests alone."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipeline.config import ServeSettings
from pipeline.errors import ConfigError
from pipeline.reading import read_small
from pipeline.secrets import remember

MAX_BYTES = 1 << 16
SHORTEST = 20
"""Characters. Those made here have 256 bits, so that guessing is hopeless and the right token is
let in however many wrong ones came before it: nobody can lock others out."""
_HASHED = re.compile(r"sha256:([0-9a-fA-F]{64})")


class Role(StrEnum):
    """What somebody may do."""

    ADMIN = "admin"
    """Everything."""
    READ = "read"
    """Look, and change nothing."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens that are good, by SHA-256; nothing here gives one of them away."""

    roles: Mapping[bytes, Role]

    def __bool__(self) -> bool:
        return bool(self.roles)

    def role_of(self, token: str) -> Role | None:
        """Of who shows this token; as slow for every wrong one."""
        return self.role_of_digest(digest(token))

    def role_of_digest(self, asked: bytes) -> Role | None:
        """The same for a token whose digest is known."""
        found = None
        for known, role in self.roles.items():
            if hmac.compare_digest(known, asked):
                found = role
        return found


def digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def read_tokens(serve: ServeSettings) -> Tokens:
    """All tokens that the settings lead to; none where they name no place.

    Raises:
        ConfigError: one cannot be read, can be read by others, or is too short.
    """
    admin = [
        *_of_file("token_file", serve.token_file),
        *_of_environment("token_env", serve.token_env),
    ]
    read = [
        *_of_file("read_token_file", serve.read_token_file),
        *_of_environment("read_token_env", serve.read_token_env),
    ]
    if read and not admin:
        raise ConfigError(
            "serve.token_file: is missing, so nobody could change anything; "
            "name one beside read_token_file"
        )
    if both := set(admin) & set(read):
        raise ConfigError(
            f"serve.read_token_file: {len(both)} token(s) are those of token_file too; "
            "make another with `maskstream serve --new-token FILE`"
        )
    return Tokens({**dict.fromkeys(admin, Role.ADMIN), **dict.fromkeys(read, Role.READ)})


def new_token(path: str) -> None:
    """Make a file with a new token, for its owner alone.

    Raises:
        ConfigError: it cannot be written, or something is there already.
    """
    text = f"msk_{secrets.token_urlsafe(32)}\n"
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "w", encoding="ascii") as out:
            out.write(text)
    except OSError as error:
        raise ConfigError(
            f"{path}: no token was written: {error.strerror}; name a file that does not exist yet"
        ) from error


def _of_file(key: str, path: str | None) -> Iterator[bytes]:
    if path is None:
        return
    try:
        mode = os.stat(path).st_mode
        text = read_small(path, max_bytes=MAX_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(
            f"serve.{key}: {path}: cannot be read: {reason}; "
            f"`maskstream serve --new-token {path}` makes one"
        ) from error
    if stat.S_IMODE(mode) & stat.S_IRWXO:
        raise ConfigError(
            f"serve.{key}: {path}: can be read or written by everybody on this machine; "
            f"chmod 600 {path}"
        )
    lines = [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]
    if not lines:
        raise ConfigError(
            f"serve.{key}: {path}: holds no token; remove it and make one with "
            f"`maskstream serve --new-token {path}`"
        )
    for line in lines:
        yield _digest_of(line, f"serve.{key}: {path}")


def _of_environment(key: str, name: str | None) -> Iterator[bytes]:
    if name is None:
        return
    token = os.environ.get(name, "").strip()
    if not token:
        raise ConfigError(f"serve.{key}: the environment has no {name}; set it, or name a file")
    yield _digest_of(token, f"serve.{key}: {name}")


def _digest_of(word: str, where: str) -> bytes:
    if hashed := _HASHED.fullmatch(word):
        return bytes.fromhex(hashed[1])
    if len(word) < SHORTEST or not word.isascii() or not word.isprintable() or " " in word:
        raise ConfigError(
            f"{where}: a token has at least {SHORTEST} letters, digits and signs without spaces, "
            f"this one {len(word)}; make one with `maskstream serve --new-token FILE`"
        )
    remember(word)
    return digest(word)
