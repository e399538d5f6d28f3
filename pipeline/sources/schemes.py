"""What kind of source a path or URL is; no file and no address is opened to tell."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.catalogue import Catalogue, Entry, nearest
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceScheme(Entry):
    """One way to read sources; opened with a URL, `source_id` and those of its options given."""

    kind: Kind


_LIVE = (
    *("max_pixels", "stride", "max_fps", "threads", "transport", "username", "password"),
    *("open_timeout_s", "read_timeout_s", "stall_timeout_s", "first_connect_s"),
    *("tls_verify", "tls_ca_file", "reach"),
)
FILE = SourceScheme(
    name="file",
    opens="pipeline.sources.file.file:FileSource",
    summary="a video file, which is what a path is, too",
    options=("start_s", "duration_s", "max_pixels", "threads"),
    kind=Kind.FILE,
)
IMAGES = SourceScheme(
    name="images",
    opens="pipeline.sources.images.images:ImagesSource",
    summary="a path of pictures",
    options=("fps", "max_pixels"),
    kind=Kind.IMAGES,
)
_camera = partial(
    SourceScheme,
    opens="pipeline.sources.live.live:LiveSource",
    summary="a camera or stream",
    options=_LIVE,
    kind=Kind.LIVE,
)
CAMERA = _camera(name="device")
_web = partial(
    SourceScheme,
    opens="pipeline.sources.live.remote:RemoteSource",
    summary="a camera or a recording, the first answer says which",
    options=(*_LIVE, "live"),
    kind=Kind.LIVE,
)
_street = SourceScheme(
    name="synthetic",
    opens="pipeline.sources.street.synthetic:SyntheticSource",
    summary="a street drawn by this program",
    kind=Kind.SYNTHETIC,
)
STREET_CAMERA = SourceScheme(
    name="synthetic",
    opens="pipeline.sources.street.camera:StreetCamera",
    summary="the same street in real time, without an end",
    kind=Kind.LIVE,
)

SCHEMES = Catalogue(
    "source scheme",
    "maskstream.sources",
    (
        *(FILE, _street),
        *(_camera(name=name) for name in ("rtsp", "rtsps", "rtmp", "udp")),
        *(_web(name=name) for name in ("http", "https")),
    ),
)
"""By the scheme of a URL, whatever has none is a path; installed packages offer more as
`SourceScheme`s in the entry points of this group."""

IMAGE_SUFFIXES = frozenset(
    {".avif", ".avifs", ".bmp", ".dib", ".heic", ".heics", ".heif", ".heifs", ".hif", ".jfif"}
    | {".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff"}
    | {".webp"}
)
VIDEO_SUFFIXES = frozenset(
    {".264", ".265", ".3g2", ".3gp", ".apng", ".asf", ".av1", ".avi", ".divx", ".dv", ".f4v"}
    | {".flv", ".gif", ".gxf", ".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v"}
    | {".m4v", ".mj2", ".mjpeg", ".mjpg", ".mk3d", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg"}
    | {".mpv", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts"}
    | {".vob", ".webm", ".wmv", ".wtv", ".y4m"}
)
UNREAD_SUFFIXES = frozenset(
    {".arw", ".cr2", ".cr3", ".dng", ".exr", ".hdr", ".j2k", ".jp2", ".jxl", ".nef", ".orf"}
    | {".psd", ".raf", ".rw2", ".svg", ".tga"}
)
"""Of pictures that no decoder here reads: in a folder they are left out, and that is said."""

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
    if scheme == "srt" and scheme not in SCHEMES:
        raise ConfigError(
            "srt:// is not read, SRT is not in the FFmpeg of PyAV's wheels; let a media server "
            "take it in and name its rtsp://HOST/PATH"
        )
    if scheme is not None and scheme not in SCHEMES:
        near = nearest(scheme, SCHEMES)
        hint = f"; did you mean {near}://?" if near else ""
        raise ConfigError(
            f"unknown kind of source {scheme}://; a source is a path, /dev/videoN or one of "
            f"{', '.join(f'{name}://' for name in sorted(SCHEMES))}{hint}"
        )
    if not url or "\0" in url:
        raise ConfigError("a source must be a path or URL, got an empty one or one with a NUL")
    kind = kind_of(url)
    if kind is Kind.LIVE and scheme is not None:
        _check_address(scheme, url)
    return kind


def _check_address(scheme: str, url: str) -> None:
    """Refuse what names no host, and what has taken part of a password for one."""
    try:
        parts = urlsplit(url)
        port = parts.port
        complete = bool(parts.hostname) and port != 0
    except ValueError:
        complete = False
    if not complete:
        raise ConfigError(f"{scheme}:// needs a host and, if given, a port from 1 to 65535")
    if scheme == "udp" and port is None:
        raise ConfigError("udp:// needs a host and a port from 1 to 65535")
    behind = re.split(r"[/?#]", url.partition("//")[2].removeprefix(parts.netloc)[1:])[0]
    may_be_path = "@" in parts.netloc or (scheme in ("http", "https") and port is None)
    if "@" in behind[1:] and not may_be_path:
        raise ConfigError(
            f"{scheme}://...: in a name or password / is written %2F, # %23, ? %3F and @ %40; or "
            "give it as password_env"
        )


def check_live(url: str, live: bool | None) -> None:
    """Refuse to read a file as a camera, or as a file what has no end of its own.

    Raises:
        ConfigError: `live` says so; None: what it is may say it.
    """
    row = row_of(url)
    is_live = row.kind is Kind.LIVE
    if live is False and is_live and "live" not in row.options:
        where = scheme_of(url) or url
        raise ConfigError(f"live: false is for http:// and https://, not for {where}")
    if live is True and not is_live and row.kind is not Kind.SYNTHETIC:
        raise ConfigError("live: true is for cameras and streams; of a file every frame counts")


def kind_of(url: str) -> Kind:
    """The kind of source `url` names; a path is looked at in the file system."""
    return row_of(url).kind


def row_of(url: str) -> SourceScheme:  # os.path below: it takes a name that is too long for a no
    """How a URL is read: see `kind_of`."""
    scheme = scheme_of(url)
    if scheme is not None and scheme != "file":
        return SCHEMES.get(scheme, CAMERA)
    path = local_path(url)
    if _DEVICE.fullmatch(str(path)):
        return CAMERA
    suffix = path.suffix.lower()
    # each video that a glob matches is a source of its own: it stands for the pictures
    pictures = is_pattern(url) and suffix not in VIDEO_SUFFIXES
    return IMAGES if pictures or os.path.isdir(path) or suffix in IMAGE_SUFFIXES else FILE


def known_options() -> frozenset[str]:
    """What may be set of one source or another."""
    return frozenset(option for row in (IMAGES, *SCHEMES.values()) for option in row.options)


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
