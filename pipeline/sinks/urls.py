"""How a sink URL is read and found right or wrong; nothing is opened or looked at."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from pipeline.catalogue import hint
from pipeline.errors import ConfigError
from pipeline.formats.encoded import ENCODINGS, EXTRA
from pipeline.paths import SOURCE_ID, expanded
from pipeline.secrets import mask_url
from pipeline.sinks import rules
from pipeline.sinks.chosen import Choice
from pipeline.sinks.options import COMMON, EVENT, EVENTS, RECORDS, Option
from pipeline.sinks.schemes import SCHEMES, Scheme
from pipeline.sinks.segments import LIST, files_of
from pipeline.sinks.template import (
    filled,
    has_start,
    list_of,
    without_start,
    wrong_start,
)


@dataclass(frozen=True, slots=True)
class SinkUrl:
    """A sink URL, read and found right; `{source}` is still a placeholder."""

    scheme: Scheme
    location: str
    options: Mapping[str, Any]
    """Of the scheme, defaults filled in."""
    choice: Choice
    events: bool = False
    """Events are sent instead of frames."""

    @staticmethod
    def of_path(scheme: str, path: str) -> SinkUrl:
        """A path that is no URL: nothing in it has a meaning.

        Raises:
            ConfigError: what the scheme needs is not installed.
        """
        _check_installed(SCHEMES[scheme], path)
        return SinkUrl(SCHEMES[scheme], path, _defaults(SCHEMES[scheme].options), Choice())

    @property
    def root(self) -> str:
        """The folder everything stays in: what stands before the part that `{source}` fills."""
        return os.path.dirname(re.split(r"\{source\}|\{start", self.location)[0]) or "."

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
        self.refuse_wrong(source_id)
        return self.location.replace("{source}", source_id)

    def refuse_wrong(self, source_id: str) -> None:
        """Refuse what cannot be opened for this source, as far as the words tell.

        Raises:
            ConfigError: the place or an option is not what such a service has.
        """
        place, location = None, self.location.replace("{source}", source_id)
        if self.scheme.writes in ("service", "address"):
            from pipeline.sinks.services import ServicePlace

            place = ServicePlace.parse(self.scheme.name, location)
            if wrong := rules.encrypted(place, self.options):
                raise ConfigError(f"sink {place}: {wrong}")
        if self.scheme.rule and (wrong := self.scheme.rule(place, self.options, source_id)):
            raise ConfigError(f"sink {place or f'{self.scheme.name}:{location}'}: {wrong}")

    @property
    def rolls(self) -> bool:
        """Whether it writes one file after the other, and a list of them."""
        return self.scheme.rolls and (self.scheme.writes == "directory" or has_start(self.location))

    def output(self, source_id: str) -> str:
        """The file or folder that stands for all it writes: of files that roll their list.

        Raises:
            ConfigError: as `located`.
        """
        located = self.located(source_id)
        return list_of(located) if has_start(located) else located

    def example(self, source_id: str) -> str | None:
        """The path of a file that its start is in; None: it has no such files.

        Raises:
            ConfigError: as `located`.
        """
        located = self.located(source_id)
        return filled(located, 0.0) if has_start(located) else None

    def written_before(self, source_id: str) -> list[str]:
        """The files a list says are of this sink, or of one before it.

        Raises:
            ConfigError: as `located`.
        """
        if not self.rolls:
            return []
        folder = self.scheme.writes == "directory"
        return files_of(Path(self.output(source_id), LIST if folder else ""))


_READ_BEFORE = 4096
"""URLs whose meaning is remembered: that of each sink of each source is asked for some 30 times
while a run is planned."""


@lru_cache(_READ_BEFORE)
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
    if scheme.writes in ("file", "directory", "database"):
        location = expanded(location)
    _check_location(scheme, location, shown)
    _check_installed(scheme, shown)
    if scheme.writes in ("service", "address"):
        _check_service(scheme, location, query)
    values = {**_defaults(scheme.options), **_options(scheme, query, shown)}
    _check_encoding(values, shown)
    if scheme.rolls and scheme.writes == "file" and (wrong := wrong_start(location, values)):
        raise ConfigError(f"sink {shown!r}: {wrong}")
    common = {key: values.pop(key, None) for key in COMMON if key not in scheme.options}
    events = common.get("every") == EVENT
    if events:
        _check_events(scheme, values, shown)
        common["every"] = None
    elif scheme.writes == "service":
        _check_frames(scheme, values, shown)
    choice = Choice(
        min_score=common.get("min_score") or 0.0,
        only=common.get("only") or (),
        every_s=common.get("every") or 0.0,
    )
    sink = SinkUrl(scheme, location, values, choice, events)
    sink.refuse_wrong("source")
    return sink


def _scheme(name: str, shown: str) -> Scheme:
    if name in SCHEMES:
        return SCHEMES[name]
    if name in ("gs", "gcs"):
        raise ConfigError(
            f"sink {shown!r}: Google's store is not written to; take s3:// or az://, or parquet: "
            "and copy its folder: gcloud storage rsync FOLDER gs://BUCKET"
        )
    raise ConfigError(
        f"sink {shown!r}: unknown scheme {name!r}{hint(name, SCHEMES)}; "
        f"schemes are {', '.join(sorted(SCHEMES))}"
    )


def _check_location(scheme: Scheme, location: str, shown: str) -> None:
    if not location.strip() or re.search(r"[\x00-\x1f\x7f]", location):
        raise ConfigError(
            f"sink {shown!r}: no usable path after {scheme.name!r}; expected for example "
            f"{scheme.name}:out/{{source}}{scheme.suffixes[0] if scheme.suffixes else ''}"
        )
    takes_start = scheme.rolls and scheme.writes == "file"
    known = without_start(location) if takes_start else location
    if unknown := re.findall(r"\{[^{}]*\}?|\}", known.replace("{source}", "")):
        raise ConfigError(
            f"sink {shown!r}: unknown placeholder {unknown[0]!r}; "
            + ("known are {source} and {start}" if takes_start else "the only one is {source}")
        )
    if scheme.writes in ("elsewhere", "service", "address"):
        return
    if location.startswith("//"):
        path = location.lstrip("/")
        raise ConfigError(
            f"sink {shown!r}: expected a path after the colon, {scheme.name}:/{path} "
            f"or {scheme.name}:{path}"
        )
    if location == "-":
        raise ConfigError(
            f"sink {shown!r}: standard output takes no results; name a file ({scheme.name}:./- for "
            "one of that name)"
        )
    if location.partition("/")[0] == "~":
        raise ConfigError(f"sink {shown!r}: no home folder is known for ~; write the path out")
    if scheme.suffixes and not location.endswith(scheme.suffixes):
        raise ConfigError(
            f"sink {shown!r}: {scheme.name} writes {', '.join(scheme.suffixes)}; "
            f"end the path with {scheme.suffixes[0]}"
        )
    if scheme.writes != "directory" and location.endswith("/"):
        raise ConfigError(f"sink {shown!r}: {scheme.name} writes one file, got a folder")


def _check_service(scheme: Scheme, location: str, query: str) -> None:
    from pipeline.sinks.services import WRITTEN, ServicePlace

    try:
        ServicePlace.parse(scheme.name, location.replace("{source}", "source"))
        if "@" in query.partition("=")[0]:
            raise ValueError(f"an option has no @ in its name; {WRITTEN}")
    except ValueError as error:  # it may have taken part of a password for something else
        raise ConfigError(f"sink {scheme.name}://...: {error}") from None


def _check_events(scheme: Scheme, values: Mapping[str, Any], shown: str) -> None:
    if scheme.writes != "service" or EVENTS.keys() - scheme.options.keys():
        raise ConfigError(
            f"sink {shown!r}: {scheme.name} takes no every=event; events:PATH is a file of events"
        )
    for key in RECORDS:
        if values[key] != scheme.options[key].default:
            raise ConfigError(
                f"sink {shown!r}: {key} is for records of frames, every=event sends events; leave "
                "one of them out"
            )


def _check_frames(scheme: Scheme, values: Mapping[str, Any], shown: str) -> None:
    for key in EVENTS.keys() & scheme.options.keys():
        if values[key] != scheme.options[key].default:
            raise ConfigError(
                f"sink {shown!r}: {key} is for events, this sink sends frames; add every=event, or "
                "leave it out"
            )


def _check_installed(scheme: Scheme, shown: str) -> None:
    _need(scheme.needs, scheme.extra or scheme.name, shown)
    if scheme.lacks is not None and (reason := scheme.lacks()):
        raise ConfigError(f"sink {shown!r}: {reason}")


def _check_encoding(values: Mapping[str, Any], shown: str) -> None:
    name = values.get("encoding", "json")
    _need(ENCODINGS[name].needs, EXTRA, shown, what=f"encoding={name} ")


def _need(module: str | None, extra: str, shown: str, what: str = "") -> None:
    if module is not None and find_spec(module) is None:
        raise ConfigError(
            f"sink {shown!r}: {what}needs {module}, which is not installed: "
            f"pip install 'maskstream[{extra}]'"
        )


def _options(scheme: Scheme, query: str, shown: str) -> dict[str, Any]:
    known = {**COMMON, **scheme.options}
    values: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ConfigError(
            f"sink {shown!r}: options are key=value joined by &, got {mask_url('?' + query)[1:]!r}"
        ) from None
    for key, text in pairs:
        if key not in known:
            raise ConfigError(
                f"sink {shown!r}: unknown option {key!r}{hint(key, known)}; "
                f"{scheme.name} knows {', '.join(sorted(known))}"
            )
        if key in values:
            raise ConfigError(f"sink {shown!r}: option {key!r} is given twice")
        try:
            values[key] = known[key].parse(text)
        except ValueError:
            wrong, near = text, ""
            if words := known[key].words:
                wrong = next((word for word in text.split(",") if word not in words), text)
                near = hint(wrong, words)
            raise ConfigError(
                f"sink {shown!r}: {key} must be {known[key].expected}, got {wrong!r}{near}"
            ) from None
    return values


def _defaults(options: Mapping[str, Option]) -> dict[str, Any]:
    return {key: option.default for key, option in options.items()}
