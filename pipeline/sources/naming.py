"""From what a user wrote to sources with ids: globs, directories, safe and distinct names."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import ConfigError
from pipeline.paths import expanded
from pipeline.sources.folders import entries_of
from pipeline.sources.schemes import (
    IMAGE_SUFFIXES,
    Kind,
    check_url,
    is_pattern,
    local_path,
    scheme_of,
)

MAX_ID = 64
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


def expand(urls: Iterable[str], *, taken: Collection[str] = ()) -> list[tuple[str, str]]:
    """Ids and URLs of all sources meant, in the order written; a glob is sorted by number.

    A directory or glob stands for its pictures as one source and each of its videos as another.

    Args:
        urls: as the user wrote them.
        taken: ids that are in use already.

    Raises:
        ConfigError: a glob or directory has nothing in it, or the scheme is unknown.
    """
    return named([single for written in urls for single in singles(written)], taken=taken)


def named(urls: Iterable[str], *, taken: Collection[str] = ()) -> list[tuple[str, str]]:
    """An id for each source, different from each other and from those `taken`."""
    used = set(taken)
    pairs = []
    for url in urls:
        source_id = _distinct(safe_id(_stem(url)), used)
        used.add(source_id)
        pairs.append((source_id, url))
    return pairs


def safe_id(text: str) -> str:
    """`text` made an id: letters, digits, `_`, `.`, `-`, at most 64, first a letter or digit."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _UNSAFE.sub("-", plain).strip("-_.")[:MAX_ID].rstrip("-_.") or "source"


def images_of(url: str) -> list[Path]:
    """The pictures a directory, glob or path stands for, sorted naturally.

    Raises:
        OSError: the directory cannot be read.
    """
    path = local_path(url)
    return entries_of(url).pictures if is_pattern(url) or os.path.isdir(path) else [path]


def singles(url: str) -> list[str]:
    """The sources one argument stands for: its pictures together, each video by itself.

    Pictures go by the name of their directory or glob, so this is asked once of what a user wrote.

    Raises:
        ConfigError: a glob or directory has nothing in it, or the scheme is unknown.
    """
    url = expanded(url)
    kind = check_url(url)
    if is_pattern(url):
        return _matching(url)
    if kind is not Kind.IMAGES or not os.path.isdir(local_path(url)):
        return [url]
    if inside := _inside(url):
        return inside
    raise ConfigError(
        f"no picture ({' '.join(sorted(IMAGE_SUFFIXES))}) and no video in the directory "
        f"{local_path(url)}"
    )


def _matching(pattern: str) -> list[str]:
    """Matched folders stand for what is in them, unless the pattern reaches into them itself."""
    found = entries_of(pattern)
    inside = {folder for path in found.pictures + found.videos for folder in path.parents}
    reached = {os.stat(folder)[1:3] for folder in inside}
    meant = [pattern] if found.pictures else []
    meant += [str(path) for path in found.videos]
    for folder in found.folders:
        place = os.stat(folder)[1:3]  # inode and device: links may lead to it, or above it
        meant += [] if place in reached else _inside(str(folder))
        reached.add(place)
    if meant := meant or [str(path) for path in found.others]:
        return meant
    kinds = "no picture and no video" if found.folders else "no file"
    raise ConfigError(f"{kinds} matches {pattern!r}")


def _inside(url: str) -> list[str]:
    try:
        found = entries_of(url)
    except OSError as error:
        raise ConfigError(
            f"cannot read the directory {local_path(url)}: {error.strerror}"
        ) from error
    return ([url] if found.pictures else []) + [str(path) for path in found.videos]


def _stem(url: str) -> str:
    """What a source is called by; nothing of a user name or password is in it."""
    scheme = scheme_of(url)
    if scheme is None or scheme == "file":
        path = local_path(url)
        if is_pattern(url):  # the pictures' directory, the first part without a wildcard
            while is_pattern(str(path)):
                path = path.parent
        name = os.path.basename(os.path.realpath(path))
        return name if os.path.isdir(path) else Path(name).stem
    parts = urlsplit(url)
    if scheme == "synthetic":
        return parts.netloc
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname}{parts.path}" if parts.path.strip("/") else f"{parts.hostname}{port}"


def _distinct(base: str, used: Collection[str]) -> str:
    source_id, number = base, 1
    while source_id in used:
        number += 1
        suffix = f"-{number}"
        source_id = base[: MAX_ID - len(suffix)] + suffix
    return source_id
