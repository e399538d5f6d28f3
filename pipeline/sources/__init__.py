"""Where frames come from: a path or URL becomes a `Source`.

This registry is light; each kind of source lives in a file of its own that imports its libraries
itself. `docs/reliability.md` says what happens when a source stalls, lies, or is damaged.
"""

from __future__ import annotations

from typing import Any

from pipeline.errors import ConfigError
from pipeline.paths import expanded
from pipeline.sources.naming import expand, named, safe_id, singles
from pipeline.sources.network.address import Address
from pipeline.sources.probe import Probe
from pipeline.sources.probing import fingerprint, probe, stamp, stamp_of, unreadable
from pipeline.sources.schemes import (
    CAMERA,
    SCHEMES,
    STREET_CAMERA,
    Kind,
    SourceScheme,
    check_live,
    check_url,
    kind_of,
    known_options,
    row_of,
)
from pipeline.stages import Source

__all__ = [
    "SCHEMES",
    "Kind",
    "Probe",
    "SourceScheme",
    "address_of",
    "check_live",
    "check_scene",
    "check_trust",
    "check_url",
    "expand",
    "fingerprint",
    "kind_of",
    "known_options",
    "named",
    "open_source",
    "probe",
    "safe_id",
    "singles",
    "stamp",
    "stamp_of",
    "unreadable",
]

address_of = Address.parse
_RANGE = frozenset({"start_s", "duration_s"})


def check_scene(url: str) -> None:
    """Refuse an address of a rendered scene that says something wrong.

    Raises:
        ConfigError: what.
    """
    from pipeline.sources.street.url import StreetUrl

    StreetUrl.parse(url)


def check_trust(ca_file: str | None, *, name: str) -> None:
    """Refuse a file that holds no certificates.

    Raises:
        ConfigError: it begins with `name`.
    """
    from pipeline.sources.network.tls import Trust

    try:
        Trust(ca_file=ca_file)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def open_source(url: str, *, source_id: str, **options: Any) -> Source:
    """The source a path or URL names; nothing is opened before its `frames` is called.

    Args:
        url: a path, a directory or glob of pictures, or a URL of `SCHEMES`.
        source_id: names it in records, errors and metrics.
        options: see the classes. None counts as not given; what another kind of source would make
            use of is accepted, so that one set of settings serves all.

    Raises:
        ConfigError: unknown scheme or option, or a range of time of a source that has none.
    """
    url = expanded(url)
    kind, row, known = check_url(url), row_of(url), known_options()
    if unknown := sorted(set(options) - known):
        raise ConfigError(f"{source_id}: unknown options {unknown}; sources know {sorted(known)}")
    given = {name: value for name, value in options.items() if value is not None}
    if wrong := sorted((_RANGE & set(given)) - set(row.options)):
        raise ConfigError(f"{source_id}: {wrong[0]} is for video files, not for {kind} sources")
    check_live(url, given.get("live"))
    if given.get("live") is True and (kind is Kind.SYNTHETIC or "live" in row.options):
        row = STREET_CAMERA if kind is Kind.SYNTHETIC else CAMERA
    chosen = {name: value for name, value in given.items() if name in row.options}
    source: Source = row.load()(url, source_id=source_id, **chosen)
    return source
