"""What a sink URL may say: the table of schemes with their options, and how a URL is read.

Nothing here opens anything, and nothing heavy is imported: configurations are checked with this.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

from pipeline.errors import ConfigError

SOURCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
ENTRY_POINTS = "maskstream.sinks"
"""Installed packages offer schemes under this entry point group; each is a `Scheme`."""


@dataclass(frozen=True, slots=True)
class Option:
    """One `?key=value` of a sink URL."""

    parse: Callable[[str], Any]
    """From text; ValueError where it is not what is `expected`."""
    default: Any
    expected: str
    """What is allowed, as the error message says it."""
    help: str


@dataclass(frozen=True, slots=True)
class Scheme:
    """One kind of sink: the word before the colon."""

    name: str
    opens: str
    """`module:function`, imported when a sink is opened; called with a `SinkTarget`."""
    summary: str
    writes: Literal["file", "directory", "elsewhere"] = "file"
    """What the URL names: a file, a folder of its own, or something outside the file system."""
    options: Mapping[str, Option] = field(default_factory=dict)
    suffixes: tuple[str, ...] = ()
    """File name endings allowed; empty: any."""


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

    return Option(parse, names[0], f"one of {', '.join(names)}", help)


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


COMMON = {
    "min_score": Option(
        _fraction,
        None,
        "a number from 0 to 1",
        "only instances whose track has reached this score (untracked: that have it)",
    )
}
"""Options of every scheme; `open_sink` deals with them."""

_ANNOTATED = flag(default=True, help="draw the instances; 0 gives the pictures as they came")

_BUILT_IN = [
    Scheme("jsonl", "pipeline.sinks.jsonl:open_jsonl", "records, one JSON object a line"),
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
    Scheme("coco", "pipeline.sinks.coco:open_coco", "COCO results, one JSON list"),
    Scheme(
        "mots",
        "pipeline.sinks.mots:open_mots",
        "MOTS text, six columns, masks made disjoint",
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
]

SCHEMES: dict[str, Scheme] = {scheme.name: scheme for scheme in _BUILT_IN}
"""All known schemes by name; `register` adds to it."""


def register(scheme: Scheme) -> None:
    """Make a scheme known in this process.

    A worker process imports nothing but installed packages, so schemes for use with Ray are
    offered as an entry point of the group `maskstream.sinks`.

    Raises:
        ConfigError: the name is taken by another scheme, or is not lower-case letters and digits.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*", scheme.name):
        raise ConfigError(f"sink scheme {scheme.name!r}: lower-case letters and digits only")
    if SCHEMES.setdefault(scheme.name, scheme) != scheme:
        raise ConfigError(f"sink scheme {scheme.name!r} is taken: {SCHEMES[scheme.name].summary}")


@dataclass(frozen=True, slots=True)
class SinkUrl:
    """A sink URL, read and found right; `{source}` is still a placeholder."""

    scheme: Scheme
    location: str
    options: Mapping[str, Any]
    """Of the scheme, defaults filled in."""
    min_score: float | None

    @property
    def root(self) -> str:
        """The folder everything stays in: what stands before the part that `{source}` fills."""
        return os.path.dirname(self.location.partition("{source}")[0]) or "."

    def located(self, source_id: str) -> str:
        """The location for one source.

        Raises:
            ConfigError: the id could leave the folder.
        """
        if not SOURCE_ID.fullmatch(source_id):
            raise ConfigError(
                f"source id {source_id!r} cannot be part of a file name; expected letters, digits, "
                "'_', '.' and '-', at most 64, beginning with a letter or digit"
            )
        return self.location.replace("{source}", source_id)


def parse_sink(url: str) -> SinkUrl:
    """Read `scheme:location?options` without touching anything.

    Raises:
        ConfigError: the scheme, an option or a value is not known; the message names the nearest
            right word and what is allowed.
    """
    shown = re.sub(r"//[^/@]*@", "//***@", url.partition("?")[0])
    name, colon, rest = url.partition(":")
    if not colon:
        raise ConfigError(
            f"sink {shown!r}: expected SCHEME:PATH such as jsonl:out/{{source}}.jsonl; "
            f"schemes are {', '.join(sorted(SCHEMES))}"
        )
    scheme = _scheme(name, shown)
    location, _, query = rest.partition("?")
    _check_location(scheme, location, shown)
    values = {**_defaults(scheme.options), **_options(scheme, query, shown)}
    min_score = values.pop("min_score", None)
    return SinkUrl(scheme, location, values, min_score)


def _scheme(name: str, shown: str) -> Scheme:
    if name not in SCHEMES:
        for entry in metadata.entry_points(group=ENTRY_POINTS, name=name):
            register(entry.load())
    if name in SCHEMES:
        return SCHEMES[name]
    raise ConfigError(
        f"sink {shown!r}: unknown scheme {name!r}{_nearest(name, SCHEMES)}; "
        f"schemes are {', '.join(sorted(SCHEMES))}"
    )


def _check_location(scheme: Scheme, location: str, shown: str) -> None:
    if not location.strip() or re.search(r"[\x00-\x1f\x7f]", location):
        raise ConfigError(
            f"sink {shown!r}: no usable path after {scheme.name!r}; expected for example "
            f"{scheme.name}:out/{{source}}{scheme.suffixes[0] if scheme.suffixes else ''}"
        )
    if unknown := re.findall(r"\{[^{}]*\}?|\}", location.replace("{source}", "")):
        raise ConfigError(
            f"sink {shown!r}: unknown placeholder {unknown[0]!r}; the only one is {{source}}"
        )
    if scheme.writes == "elsewhere":
        return
    if location.startswith("//"):
        path = location.lstrip("/")
        raise ConfigError(
            f"sink {shown!r}: expected a path after the colon, {scheme.name}:/{path} "
            f"or {scheme.name}:{path}"
        )
    if scheme.suffixes and not location.endswith(scheme.suffixes):
        raise ConfigError(
            f"sink {shown!r}: {scheme.name} writes {', '.join(scheme.suffixes)}; "
            f"end the path with {scheme.suffixes[0]}"
        )
    if scheme.writes == "file" and location.endswith("/"):
        raise ConfigError(f"sink {shown!r}: {scheme.name} writes one file, got a folder")


def _options(scheme: Scheme, query: str, shown: str) -> dict[str, Any]:
    known = {**scheme.options, **COMMON}
    values: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ConfigError(
            f"sink {shown!r}: options are key=value joined by &, got {query!r}"
        ) from None
    for key, text in pairs:
        if key not in known:
            raise ConfigError(
                f"sink {shown!r}: unknown option {key!r}{_nearest(key, known)}; "
                f"{scheme.name} knows {', '.join(sorted(known))}"
            )
        if key in values:
            raise ConfigError(f"sink {shown!r}: option {key!r} is given twice")
        try:
            values[key] = known[key].parse(text)
        except ValueError:
            raise ConfigError(
                f"sink {shown!r}: {key} must be {known[key].expected}, got {text!r}"
            ) from None
    return values


def _defaults(options: Mapping[str, Option]) -> dict[str, Any]:
    return {key: option.default for key, option in options.items()}


def _nearest(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(words), n=1)
    return f", did you mean {near[0]!r}?" if near else ""
