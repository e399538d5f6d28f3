"""What can be said about a source before it is read: for estimates, progress and fingerprints."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.reading import open_regular
from pipeline.sources.naming import images_of
from pipeline.sources.probe import Probe
from pipeline.sources.schemes import Kind, check_url, local_path

_ENDS_BYTES = 1 << 20


def probe(url: str) -> Probe | None:
    """Look at the first picture; None for a camera, which is not opened for that.

    Raises:
        ConfigError: unknown scheme.
        SourceOpenError: it cannot be opened.
    """
    kind = check_url(url)
    if kind is Kind.FILE:
        from pipeline.sources.file.file import probe_file

        return probe_file(local_path(url))
    if kind is Kind.IMAGES:
        from pipeline.sources.images.images import probe_images

        return probe_images(url)
    if kind is Kind.SYNTHETIC:
        from pipeline.sources.street.url import StreetUrl

        street = StreetUrl.parse(url)
        frames, fps = street.frames, street.fps
        return Probe(street.size, fps, "drawn", "bgr24", frames, frames / fps)
    return None


def unreadable(url: str) -> str | None:
    """Why a local source cannot be read, as far as its name tells; None where it may be."""
    kind = check_url(url)
    if kind is Kind.FILE:
        return _closed(local_path(url))
    if kind is not Kind.IMAGES:
        return None
    try:
        reasons = [_closed(path) for path in images_of(url)]
    except OSError as error:
        return error.strerror
    if not reasons:
        return "no picture there"
    return reasons[0] if all(reasons) else None


def _closed(path: Path) -> str | None:
    try:
        path.stat()
    except OSError as error:
        return error.strerror
    return None if os.access(path, os.R_OK) else os.strerror(errno.EACCES)


def fingerprint(url: str) -> str:
    """Tells one source from another without reading it all; the same at every call for files.

    A video file counts by its size and the megabyte at either end, pictures by their names and
    sizes, anything else by its URL. Neither the place nor the date of a file counts.
    """
    kind = check_url(url)
    digest = hashlib.sha256()
    if kind is Kind.FILE:
        _add_ends(digest, local_path(url))
    elif kind is Kind.IMAGES:
        for path in images_of(url):
            digest.update(os.fsencode(f"{path.name}\0{_size(path)}\0"))
    else:
        digest.update(os.fsencode(url))
    return digest.hexdigest()


def stamp(url: str) -> str:
    """Sizes and dates of the files of a local source, in words; empty for anything else.

    Cheaper than to read them and stricter than `fingerprint`: a picture that was changed is told
    though its name and size are the same, and so is one that was only written again.
    """
    kind = check_url(url)
    if kind is Kind.FILE:
        return stamp_of([local_path(url)])
    return stamp_of(images_of(url)) if kind is Kind.IMAGES else ""


def stamp_of(paths: Iterable[Path]) -> str:
    """Sizes and dates of files, in words: `2 files of 3,456 bytes, dates 1a2b3c4d`."""
    digest, sizes = hashlib.sha256(), []
    for path in paths:
        try:
            about = path.stat()
        except OSError:
            digest.update(b"unreadable")  # opening it says why
            continue
        sizes.append(about.st_size)
        digest.update(os.fsencode(f"{path.name}\0{about.st_size}\0{about.st_mtime_ns}\0"))
    files = "1 file" if len(sizes) == 1 else f"{len(sizes):,} files"
    return f"{files} of {sum(sizes):,} bytes, dates {digest.hexdigest()[:8]}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _add_ends(digest: hashlib._Hash, path: Path) -> None:
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            digest.update(f"{size}\0".encode())
            for offset in {0, max(0, size - _ENDS_BYTES)}:
                file.seek(offset)
                digest.update(file.read(_ENDS_BYTES))
    except OSError:
        digest.update(b"unreadable")  # opening it says why
