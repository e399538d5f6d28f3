"""Where frames come from: a path or URL becomes a `Source`.

This registry is light; each kind of source lives in a file of its own that imports its libraries
itself. `docs/reliability.md` says what happens when a source stalls, lies, or is damaged.
"""

from __future__ import annotations

import importlib
from typing import Any

from pipeline.errors import ConfigError
from pipeline.paths import expanded
from pipeline.sources.naming import expand, named, safe_id, singles
from pipeline.sources.network.address import Address
from pipeline.sources.probe import Probe
from pipeline.sources.probing import fingerprint, probe, unreadable
from pipeline.sources.schemes import SCHEMES, Kind, check_live, check_url, kind_of, scheme_of
from pipeline.stages import Source

__all__ = [
    "SCHEMES",
    "Kind",
    "Probe",
    "address_of",
    "check_live",
    "check_scene",
    "check_trust",
    "check_url",
    "expand",
    "fingerprint",
    "kind_of",
    "named",
    "open_source",
    "probe",
    "safe_id",
    "singles",
    "unreadable",
]

_OPENS = {
    Kind.FILE: "pipeline.sources.file.file:FileSource",
    Kind.IMAGES: "pipeline.sources.images.images:ImagesSource",
    Kind.LIVE: "pipeline.sources.live.live:LiveSource",
    Kind.SYNTHETIC: "pipeline.sources.street.synthetic:SyntheticSource",
}

_LIVE_OPTIONS = {
    "max_pixels",
    "stride",
    "max_fps",
    "threads",
    "open_timeout_s",
    "read_timeout_s",
    "stall_timeout_s",
    "first_connect_s",
    "transport",
    "tls_verify",
    "tls_ca_file",
    "username",
    "password",
    "live",
}
OPTIONS: dict[Kind, frozenset[str]] = {
    Kind.FILE: frozenset({"start_s", "duration_s", "max_pixels", "threads"}),
    Kind.IMAGES: frozenset({"fps", "max_pixels"}),
    Kind.LIVE: frozenset(_LIVE_OPTIONS),
    Kind.SYNTHETIC: frozenset(),
}
"""The options each kind of source makes use of."""

_KNOWN = frozenset().union(*OPTIONS.values())
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
    kind = check_url(url)
    if unknown := sorted(set(options) - _KNOWN):
        raise ConfigError(f"{source_id}: unknown options {unknown}; sources know {sorted(_KNOWN)}")
    given = {name: value for name, value in options.items() if value is not None}
    if kind is not Kind.FILE and (wrong := sorted(_RANGE & set(given))):
        raise ConfigError(f"{source_id}: {wrong[0]} is for video files, not for {kind} sources")
    check_live(url, given.get("live"))
    remote = scheme_of(url) in ("http", "https") and given.get("live") is not True
    module, _, name = (
        "pipeline.sources.live.remote:RemoteSource" if remote else _OPENS[kind]
    ).partition(":")
    if not remote:
        given.pop("live", None)
    chosen = {name: value for name, value in given.items() if name in OPTIONS[kind]}
    source: Source = getattr(importlib.import_module(module), name)(
        url, source_id=source_id, **chosen
    )
    return source
