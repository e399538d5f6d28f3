"""From what a user wrote to sources with ids: globs, directories, safe and distinct names."""

from __future__ import annotations

import glob
import os
import re
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import ConfigError
from pipeline.sources.schemes import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
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

    A glob of videos is one source each; a glob or directory of pictures is one source; a
    directory without pictures stands for the videos in it.

    Args:
        urls: as the user wrote them.
        taken: ids that are in use already.

    Raises:
        ConfigError: a glob or directory has nothing in it, or the scheme is unknown.
    """
    used = set(taken)
    named = []
    for url in [single for written in urls for single in _singles(written)]:
        source_id = _distinct(safe_id(_stem(url)), used)
        used.add(source_id)
        named.append((source_id, url))
    return named


def safe_id(text: str) -> str:
    """`text` made an id: letters, digits, `_`, `.`, `-`, at most 64, first a letter or digit."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _UNSAFE.sub("-", plain).strip("-_.")[:MAX_ID].rstrip("-_.") or "source"


def natural_key(path: Path) -> tuple[object, ...]:
    """Sorts `img2` before `img10`; ties by the exact name."""
    parts = re.split(r"(\d+)", path.name)
    return (str(path.parent), [(int(p), "") if p.isdigit() else (-1, p) for p in parts], path.name)


def images_of(url: str) -> list[Path]:
    """The pictures a directory, glob or path stands for, sorted naturally."""
    path = local_path(url)
    if is_pattern(url):
        found = [Path(name) for name in glob.glob(url, recursive=True)]
    else:
        found = list(path.iterdir()) if os.path.isdir(path) else [path]
    return sorted((p for p in found if _is_image(p)), key=natural_key)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _singles(url: str) -> list[str]:
    """The sources one argument stands for."""
    kind = check_url(url)
    if is_pattern(url):
        return _matching(url)
    if kind is Kind.IMAGES and os.path.isdir(local_path(url)):
        return _in_directory(url)
    return [url]


def _matching(pattern: str) -> list[str]:
    found = sorted((Path(name) for name in glob.glob(pattern, recursive=True)), key=natural_key)
    if not found:
        raise ConfigError(f"no file matches {pattern!r}")
    if all(_is_image(path) for path in found):
        return [pattern]
    files = [path for path in found if not path.is_dir() and not _is_image(path)]
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    directories = [path for path in found if path.is_dir()]
    singles = [str(path) for path in videos or ([] if directories else files)]
    return singles + [one for path in directories for one in _in_directory(str(path))]


def _in_directory(url: str) -> list[str]:
    path = local_path(url)
    try:
        inside = sorted(path.iterdir(), key=natural_key)
    except OSError as error:
        raise ConfigError(f"cannot read the directory {path}: {error.strerror}") from error
    if any(_is_image(entry) for entry in inside):
        return [url]
    videos = [str(entry) for entry in inside if entry.suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        raise ConfigError(
            f"no picture ({' '.join(sorted(IMAGE_SUFFIXES))}) and no video in the directory {path}"
        )
    return videos


def _stem(url: str) -> str:
    """What a source is called by; nothing of a user name or password is in it."""
    scheme = scheme_of(url)
    if scheme is None or scheme == "file":
        path = local_path(url)
        if is_pattern(url):  # the pictures' directory, the first part without a wildcard
            while is_pattern(str(path)):
                path = path.parent
        name = path.resolve().name
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
