"""`?key=value` of a sink's URL: how each is read, and those that many kinds of sinks have."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.formats.encoded import ENCODINGS
from pipeline.formats.selected import MASKS, OF_FRAMES, OF_INSTANCES
from pipeline.paths import expanded


@dataclass(frozen=True, slots=True)
class Option:
    """One `?key=value` of a sink URL."""

    parse: Callable[[str], Any]
    """From text; ValueError where it is not what is `expected`."""
    default: Any
    expected: str
    """What is allowed, as the error message says it."""
    help: str
    reads: bool = False
    """The value is the path of a file that is read."""
    look: Callable[[str], object] | None = None
    """Reads that file; ConfigError where it is not what is wanted."""
    words: tuple[str, ...] = ()
    """All that may be said, where it is one of these or several with commas between."""


def integer(low: int, high: int, *, default: int | None, help: str) -> Option:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return Option(parse, default, f"a whole number from {low} to {high}", help)


def flag(*, default: bool, help: str) -> Option:
    """1 or 0."""
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}

    def parse(text: str) -> bool:
        if text not in words:
            raise ValueError
        return words[text]

    return Option(parse, default, "1 or 0", help)


def choice(*names: str, help: str) -> Option:
    """One of `names`; the first is the default."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError
        return text

    return Option(parse, names[0], f"one of {', '.join(names)}", help, words=names)


def several(*names: str, help: str) -> Option:
    """Some of `names`, with commas between; None by default."""

    def parse(text: str) -> tuple[str, ...]:
        if unknown := [word for word in text.split(",") if word not in names]:
            raise ValueError(unknown[0])
        return tuple(text.split(","))

    return Option(parse, None, f"some of {', '.join(names)}", help, words=names)


def period(default_s: float | None, help: str, *, least_s: float = 0.0) -> Option:
    """A length of time; `least_s`: at least so long."""

    def parse(text: str) -> float:
        if (length_s := _period(text)) < least_s:
            raise ValueError
        return length_s

    least = f", at least {least_s:g}s" if least_s else ""
    return Option(parse, default_s, f"a period such as 10s or 5min{least}", help)


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of what was written stays; one of the two."""

    seconds: float | None = None
    size: int | None = None
    """Bytes."""


def keep(help: str) -> Option:
    """A length of time or an amount of bytes; by default all."""

    def parse(text: str) -> Keep:
        if found := re.fullmatch(r"(\d+(?:\.\d+)?)([MGT])B", text):
            size = int(float(found[1]) * {"M": 1e6, "G": 1e9, "T": 1e12}[found[2]])
            if not size:
                raise ValueError
            return Keep(size=size)
        return Keep(seconds=_period(text))

    expected = "a period such as 24h or 7d, or a size such as 500MB or 20GB"
    return Option(parse, None, expected, help)


def size(help: str) -> Option:
    """An amount of bytes; by default there is no such limit."""

    def parse(text: str) -> int:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([kM])B", text)
        if found is None or not (value := int(float(found[1]) * {"k": 1e3, "M": 1e6}[found[2]])):
            raise ValueError
        return value

    return Option(parse, None, "a size such as 200kB or 1.5MB", help)


def file(expected: str, help: str, look: Callable[[str], object] | None = None) -> Option:
    """The path of a file that is read."""
    return Option(_path, None, expected, help, reads=True, look=look)


def identifier(default: str, help: str) -> Option:
    """A name that needs no quotes, wherever it stands."""

    def parse(word: str) -> str:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", word):
            raise ValueError
        return word

    return Option(parse, default, "a name of small letters, digits and _", help)


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def _path(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError
    return expanded(text)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError
    return names


def _every(text: str) -> float:
    return {"frame": 0.0, "event": EVENT}[text] if text in ("frame", "event") else _period(text)


def _update(text: str) -> float:
    return 0.0 if text == "never" else _period(text)


def _period(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|min|h|d)", text)
    if found is None or not float(found[1]):
        raise ValueError
    units = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
    return float(found[1]) * units[found[2]]


def text(default: str | None, expected: str, help: str) -> Option:
    """Some word of the user's."""

    def parse(word: str) -> str:
        if not word.strip() or not word.isprintable():
            raise ValueError
        return word

    return Option(parse, default, expected, help)


def names(help: str) -> Option:
    """Words with commas between."""
    return Option(_names, None, "names with commas between", help)


EVENT = -1.0
"""Stands for a period: what is sent are events."""

COMMON = {
    "every": Option(
        _every,
        None,
        "frame, event, or a period such as 1s, 500ms or 5min",
        "only the first frame of every such period of the source's own time; services: only events",
    ),
    "only": Option(
        _names, None, "names of classes with commas between", "only instances of these classes"
    ),
    "min_score": Option(
        _fraction,
        None,
        "a number from 0 to 1",
        "only instances whose track has reached this score (untracked: that have it)",
    ),
}
"""Options of every scheme that has none of that name; `open_sink` deals with them."""

RECORDS = {
    "fields": several(*OF_FRAMES, *OF_INSTANCES, help="only these keys beside the frame's own"),
    "mask": choice(*MASKS, help="as runs, as outlines along the pixels' edges, or left out"),
}
"""Options of every scheme whose output is records; `selection_of` reads them."""

TABLES = {
    "fields": several(*OF_FRAMES, *OF_INSTANCES, help="only these columns beside the key"),
    "mask": choice(*MASKS, help="as runs, as outlines in the column `polygons`, or left out"),
}
"""The same of every scheme whose output is tables."""

EVENTS = {
    "update": Option(
        _update,
        10.0,
        "a period such as 10s or 5min, or never",
        "between two events of a track that is there",
    ),
    "gone": period(5.0, "how long a track may be away before it has ended"),
    "crop": integer(*(0, 1024), default=0, help="pixels of a picture of its best view; 0 for none"),
}
"""Options of every scheme that follows tracks from their beginning to their end."""

_WHO = {
    "username": text(None, "a name", "who we are there"),
    "password_env": text(None, "a name", "the environment variable that holds the password"),
    "password_file": file("a path", "a file that holds the password"),
}

SERVICE = {
    **_WHO,
    "spool_mb": integer(16, 1_000_000, default=1000, help="what may wait on the disk, at most"),
}
"""Options of every service."""

RECORDS_SENT = {
    **SERVICE,
    **RECORDS,
    **EVENTS,
    "size": size("of a message, at most; one that is larger is put aside"),
}
"""Options of every service that takes records, of frames or of events."""

MESSAGES = {
    **RECORDS_SENT,
    "encoding": choice(*ENCODINGS, help="of a message: JSON, that with zstd, or MessagePack"),
}
"""Options of every service that takes each record for itself."""

OBJECTS = {
    **RECORDS_SENT,
    "slice": period(60.0, "an object is of one such period of the source's own time"),
    "unencrypted": flag(default=False, help="endpoint may be http: on another machine"),
}
"""Options of every service that keeps records as objects."""

TLS = {
    "tls": flag(default=False, help="encrypt the connection; certificates are checked"),
    "tls_ca_file": file("a path", "certificates to trust instead of the system's"),
    "tls_cert_file": file("a path", "our certificate, where the service asks for one"),
    "tls_key_file": file("a path", "its key, where that is not in the same file"),
}
"""Options of every service that can be reached over TLS."""

ANNOTATED = flag(default=True, help="draw the instances; 0 gives the pictures as they came")

CODING = {
    "codec": choice(
        *("libx264", "h264_nvenc", "h264_qsv", "h264_amf", "h264_v4l2m2m"),
        *("h264_vaapi", "h264_videotoolbox", "libopenh264", "hardware"),
        help="the encoder, where PyAV's FFmpeg has it; `hardware` is the first of a device that "
        "works here, else libx264",
    ),
    "crf": integer(*(0, 51), default=23, help="quality of libx264: lower is better and larger"),
    "preset": choice(
        *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
        help="speed of libx264: slower is smaller",
    ),
    "bitrate_kbps": integer(
        *(50, 200_000), default=None, help="instead of crf; the rule for other encoders"
    ),
    "threads": integer(1, 16, default=2, help="encoder threads"),
    "annotated": ANNOTATED,
}
"""Options of every scheme that codes video."""

ROLLING = {
    "segment": period(None, "a file for each such period; needs {start} in the path", least_s=1.0),
    "keep": keep("the oldest files go where there is more"),
}
"""Options of every scheme that may write one file after the other."""

LIVE = {
    **CODING,
    "fps": integer(1, 60, default=None, help="pictures a second; the source's own rate if unsaid"),
    "notice": period(3.0, "from which age on a picture says so"),
    **_WHO,
    "key_env": text(None, "a name", "the environment variable that holds the end of the path"),
    "key_file": file("a path", "a file that holds the end of the path"),
}
"""Options of every scheme that sends video as it comes."""

LIVE_TLS = {**LIVE, "tls_ca_file": TLS["tls_ca_file"]}
"""Options of every such scheme that is encrypted."""

SRT = {
    **{key: option for key, option in LIVE.items() if key != "username"},
    "streamid": text(None, "a name", "what a server tells streams apart by"),
    "latency": period(None, "how long what was lost on the way may be sent again"),
}
"""Options of SRT; the password is its passphrase, the key is put behind `streamid`."""
