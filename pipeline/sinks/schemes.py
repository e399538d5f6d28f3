"""The kinds of sinks: the table of schemes with their options; nothing heavy is imported here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.catalogue import Catalogue, Entry
from pipeline.formats.selected import MASKS, OF_FRAMES, OF_INSTANCES, Selection
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
    words: tuple[str, ...] = ()
    """All that may be said, where it is one of these or several with commas between."""


@dataclass(frozen=True, slots=True)
class Scheme(Entry):
    """One kind of sink, by the word before the colon; opened with a `SinkTarget`."""

    writes: Literal["file", "directory", "elsewhere", "service"] = "file"
    """What the URL names: a file, a folder of its own, or something outside the file system; a
    service is somewhere else, and what waits for it is kept on the disk."""
    options: Mapping[str, Option] = field(default_factory=dict, kw_only=True)
    suffixes: tuple[str, ...] = ()
    """File name endings allowed; empty: any."""
    tracked: bool = False
    """It needs instances with track ids."""
    needs: str | None = None
    """A module that only those have who installed the extra with the name of the scheme."""


@dataclass(frozen=True, slots=True)
class SinkTarget:
    """All that a sink is opened with: its URL read, `{source}` filled in, options parsed."""

    scheme: str
    location: str
    """What stands between the colon and the question mark."""
    root: str
    """The folder that `location` must not leave, whatever the source is called."""
    options: Mapping[str, Any]
    source_id: str
    run: str
    labels: Mapping[int, str]
    fps_hint: float | None
    """Frames a second, roughly; for rate control only, never for time."""
    overwrite: bool
    """True: what lies there is replaced at the first write, or continued by `resume`."""
    spool: Path | None = None
    """The folder for what waits for a service."""

    @property
    def path(self) -> Path:
        """`location` as a path."""
        return Path(self.location)


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


def _period(text: str) -> float:
    if text == "frame":
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|min)", text)
    if found is None or not float(found[1]):
        raise ValueError
    return float(found[1]) * {"ms": 0.001, "s": 1.0, "min": 60.0}[found[2]]


COMMON = {
    "every": Option(
        _period,
        None,
        "frame, or a period such as 1s, 500ms or 5min",
        "only the first frame of every such period of the source's own time",
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


def selection_of(target: SinkTarget) -> Selection:
    """What of a result becomes a record."""
    return Selection(target.options["fields"], target.options["mask"])


def text(default: str | None, expected: str, help: str) -> Option:
    """Some word of the user's."""

    def parse(word: str) -> str:
        if not word.strip() or not word.isprintable():
            raise ValueError
        return word

    return Option(parse, default, expected, help)


SERVICE = {
    "username": text(None, "a name", "who we are there"),
    "password_env": text(None, "a name", "the environment variable that holds the password"),
    "password_file": Option(_path, None, "a path", "a file that holds the password", reads=True),
    "spool_mb": integer(16, 1_000_000, default=1000, help="what may wait on the disk, at most"),
}
"""Options of every service."""

_ANNOTATED = flag(default=True, help="draw the instances; 0 gives the pictures as they came")

_BUILT_IN = [
    Scheme(
        "jsonl",
        "pipeline.sinks.jsonl:open_jsonl",
        "records, one JSON object a line",
        options=RECORDS,
    ),
    Scheme(
        "video",
        "pipeline.sinks.video:open_video",
        "annotated H.264 video that plays while it is written",
        options={
            "codec": choice(
                *("libx264", "h264_nvenc", "h264_qsv", "h264_amf", "h264_v4l2m2m"),
                *("h264_vaapi", "h264_videotoolbox", "libopenh264"),
                help="the encoder, where PyAV's FFmpeg has it",
            ),
            "crf": integer(
                *(0, 51), default=23, help="quality of libx264: lower is better and larger"
            ),
            "preset": choice(
                *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
                help="speed of libx264: slower is smaller",
            ),
            "bitrate_kbps": integer(
                *(50, 200_000), default=None, help="instead of crf; the rule for other encoders"
            ),
            "threads": integer(1, 16, default=2, help="encoder threads"),
            "annotated": _ANNOTATED,
        },
        suffixes=(".mp4", ".m4v", ".mov"),
    ),
    Scheme(
        "coco",
        "pipeline.sinks.coco:open_coco",
        "COCO results, one JSON list",
        options={
            "images": Option(
                _path,
                None,
                "the path of a COCO file",
                "for pictures: `image_id` is that of the image with the same `file_name` in there",
                reads=True,
            )
        },
    ),
    Scheme(
        "mots",
        "pipeline.sinks.mots:open_mots",
        "MOTS text, six columns, masks made disjoint",
        tracked=True,
        options={
            "start": integer(0, 1, default=0, help="number of the first frame; MOTSChallenge has 1")
        },
    ),
    Scheme(
        "frames",
        "pipeline.sinks.frames:open_frames",
        "single pictures in a folder",
        writes="directory",
        options={
            "format": choice("jpg", "png", help="file format"),
            "quality": integer(1, 100, default=90, help="of JPEG"),
            "annotated": _ANNOTATED,
            "every": integer(1, 1_000_000, default=1, help="only frames divisible by this"),
        },
    ),
    Scheme(
        "redis",
        "pipeline.sinks.redis:open_redis",
        "records as entries of a Redis stream",
        writes="service",
        needs="redis",
        options={
            **SERVICE,
            **RECORDS,
            "stream": text("maskstream:{source}", "a name", "of the stream"),
            "maxlen": integer(0, 1 << 40, default=0, help="entries it keeps, about; 0 for all"),
            "tls": flag(default=False, help="encrypt the connection, with a checked certificate"),
        },
    ),
]

SCHEMES = Catalogue("sink scheme", "maskstream.sinks", _BUILT_IN)
"""All known schemes; installed packages offer more `Scheme`s in entry points of this group."""

register = SCHEMES.register
