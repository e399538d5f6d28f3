"""From the URL of a sink, or a plain path, to the reader of what is there."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.readers.contract import READERS, ReadBack, Records, Wanted
from pipeline.secrets import mask_url
from pipeline.sinks import SinkTarget
from pipeline.sinks.schemes import SCHEMES
from pipeline.sinks.urls import SinkUrl, parse_sink

_BY_SUFFIX = {".parquet": "parquet", ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite"}
_PLACEHOLDER = "{source}"


def records(
    url: str | os.PathLike[str], *, source: str | None = None, follow: bool = False
) -> Records:
    """The records where a sink has put them, as objects; see `pipeline.readers.contract`.

    Args:
        url: of the sink, as the run was given it; or the path of a file or folder.
        source: fills `{source}`, and chooses where several sources are in one place.
        follow: wait for what comes.

    Raises:
        ConfigError: the URL cannot be read, or does not say which source.
    """
    wanted = what_is_wanted(url, source=source, follow=follow)
    read: ReadBack = READERS[wanted.target.scheme].load()
    return read(wanted)


def what_is_wanted(
    url: str | os.PathLike[str], *, source: str | None = None, follow: bool = False
) -> Wanted:
    """What a reader is given, see `records`."""
    shown, sink = _sink(url)
    if sink.scheme.name not in READERS:
        raise ConfigError(
            f"{shown}: what {sink.scheme.name}: writes is not read back; readable are "
            f"{', '.join(sorted(READERS))}"
        )
    return Wanted(_target(sink, source, shown), source, follow)


def _sink(url: str | os.PathLike[str]) -> tuple[str, SinkUrl]:
    text: object = url if isinstance(url, str) else getattr(url, "__fspath__", bytes)()
    if not isinstance(text, str) or not text:
        raise ConfigError(f"what is read must be the URL of a sink or a path, got {url!r}")
    word = re.match(r"([a-z][a-z0-9_]*):", text)
    if isinstance(url, str) and word is not None and (word[1] in SCHEMES or "//" in text):
        return mask_url(text.partition("?")[0]), parse_sink(text)
    scheme = "parquet" if os.path.isdir(text) else _BY_SUFFIX.get(Path(text).suffix, "jsonl")
    return text, SinkUrl.of_path(scheme, text)


def _target(sink: SinkUrl, source: str | None, shown: str) -> SinkTarget:
    texts = [sink.location, *(text for text in sink.options.values() if isinstance(text, str))]
    if source is None and any(_PLACEHOLDER in text for text in texts):
        raise ConfigError(f"{shown}: say which source is meant by {{source}}")
    return SinkTarget(
        scheme=sink.scheme.name,
        location=sink.location if source is None else sink.located(source),
        root=sink.root,
        options=sink.options,
        source_id=source or "",
    )
