"""What kind of source a path or URL is; no file and no address is opened to tell."""

from __future__ import annotations

import difflib
import os
import re
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import ConfigError
from pipeline.paths import expanded


class Kind(StrEnum):
    """The kinds of sources."""

    FILE = "file"
    """A video file: every frame counts."""
    IMAGES = "images"
    """A directory or glob of pictures, or one picture: every picture is a frame."""
    LIVE = "live"
    """A camera or stream: the newest frame counts."""
    SYNTHETIC = "synthetic"
    """A scene drawn by this program."""


SCHEMES: dict[str, Kind] = {
    "file": Kind.FILE,
    "synthetic": Kind.SYNTHETIC,
    **dict.fromkeys(("rtsp", "rtsps", "http", "https", "rtmp", "udp"), Kind.LIVE),
}
"""URL schemes; whatever has none is a path."""

IMAGE_SUFFIXES = frozenset(
    {".avif", ".avifs", ".bmp", ".dib", ".heic", ".heics", ".heif", ".heifs", ".hif", ".jfif"}
    | {".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
VIDEO_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".apng", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265"}
    | {".hevc", ".ivf", ".m2ts", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4"}
    | {
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".nut",
        ".obu",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
        ".y4m",
    }
)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DEVICE = re.compile(r"/dev/video\d+")
_MAGIC = re.compile(r"[*?[]")


def scheme_of(url: str) -> str | None:
    """The scheme of a URL in lower case, None for a path."""
    match = _SCHEME.match(url)
    return match[1].lower() if match else None


def check_url(url: str) -> Kind:
    """The kind of source, after a look at the form of its name.

    Raises:
        ConfigError: the scheme is unknown, or the host or path is missing.
    """
    scheme = scheme_of(url)
    if scheme is not None and scheme not in SCHEMES:
        nearest = difflib.get_close_matches(scheme, SCHEMES, n=1)
        hint = f"; did you mean {nearest[0]}://?" if nearest else ""
        raise ConfigError(
            f"unknown kind of source {scheme}://; a source is a path, /dev/videoN or one of "
            f"{', '.join(f'{name}://' for name in sorted(SCHEMES))}{hint}"
        )
    if not url or "\0" in url:
        raise ConfigError("a source must be a path or URL, got an empty one or one with a NUL")
    kind = kind_of(url)
    if kind is Kind.LIVE and scheme is not None:
        try:
            parts = urlsplit(url)
            complete = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            complete = False
        if not complete:
            raise ConfigError(f"{scheme}:// needs a host and, if given, a port from 1 to 65535")
    return kind


def check_live(url: str, live: bool | None) -> None:
    """Refuse to read a file as a camera, or as a file what has no end of its own.

    Raises:
        ConfigError: `live` says so; None: what it is may say it.
    """
    scheme, is_live = scheme_of(url), kind_of(url) is Kind.LIVE
    if live is False and is_live and scheme not in ("http", "https"):
        raise ConfigError(f"live: false is for http:// and https://, not for {scheme or url}")
    if live is True and not is_live:
        raise ConfigError("live: true is for cameras and streams; of a file every frame counts")


def kind_of(url: str) -> Kind:  # os.path below: it takes a name that is too long for a no
    """The kind of source `url` names; a path is looked at in the file system."""
    scheme = scheme_of(url)
    if scheme is not None and scheme != "file":
        return SCHEMES.get(scheme, Kind.LIVE)
    path = local_path(url)
    if _DEVICE.fullmatch(str(path)):
        return Kind.LIVE
    if os.path.isdir(path) or path.suffix.lower() in IMAGE_SUFFIXES:
        return Kind.IMAGES
    return Kind.FILE


def local_path(url: str) -> Path:
    """The path of a local source."""
    if scheme_of(url) == "file":
        parts = urlsplit(url)
        home = parts.netloc if parts.netloc.startswith("~") else ""
        path = unquote(parts.path, errors="surrogateescape")  # names need not be UTF-8
        return Path(expanded(home + path))
    return Path(expanded(url))


def is_pattern(url: str) -> bool:
    """Whether a path is a glob; a path that exists is itself."""
    return bool(scheme_of(url) is None and _MAGIC.search(url) and not os.path.exists(expanded(url)))
