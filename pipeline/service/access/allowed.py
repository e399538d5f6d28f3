"""What may be named over the API: sources, sinks, secrets, weights the configuration does not name.

Who may add a stream is not thereby somebody who may read files of this machine, have it ask its own
services, or write where he likes. What the configuration names is trusted, part by part: its URL
stays allowed when a stream of it gets another `min_score`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pipeline import models, sources
from pipeline.config import ServiceSettings, SourceSettings
from pipeline.errors import ConfigError
from pipeline.paths import expanded
from pipeline.secrets import mask_url
from pipeline.sinks.urls import SinkUrl, parse_sink
from pipeline.sources.network.reach import addresses_of, is_allowed, range_of
from pipeline.sources.schemes import local_path, scheme_of

_SECRETS = ("password_env", "password_file", "tls_ca_file")
_OTHER_HOSTS = re.compile("brokers|endpoint")
"""Options of sinks that lead elsewhere than their URL says."""


class NotAllowed(ConfigError):
    """It may not be named over the API."""


def check_named(settings: ServiceSettings, spec: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Refuse a stream that names what it may not; asks nobody, so it may be called often.

    Args:
        settings: of the service, with the streams its file names.
        spec: the keys of a source as in YAML, and its own `sinks`.

    Returns:
        The hosts its source may ask, for whoever connects; None: any.

    Raises:
        NotAllowed: with the setting that would allow it.
        ConfigError: it is no source or sink at all.
    """
    sources.check_url(str(spec["url"]))
    known = next((one for one in settings.sources if one.id == spec["id"]), None)
    serve, url = settings.serve, str(spec["url"])
    trusted = known is not None and known.url == url
    reach = None if trusted else _reach(url, serve.allow)
    for key in _SECRETS:
        if spec.get(key) is not None and not _is_of(known if trusted else None, key, spec[key]):
            _need_secrets(serve.allow_secrets, f"stream {spec['id']}: {key}")
    configured = {sink.url for sink in settings.sinks}
    for sink in spec.get("sinks", ()):
        target = sink if isinstance(sink, str) else sink["url"]
        if target not in configured:
            _check_sink(target, str(spec["id"]), serve.allow_sinks, serve.allow_secrets)
    return reach


def check_weights(weights: str, allow: Sequence[str]) -> None:
    """Refuse weights that may not be named over the API; published ones always may.

    Args:
        weights: a word such as `COCO_V1`, or a path.
        allow: `serve.allow_models`.

    Raises:
        NotAllowed: with the setting that would allow it.
    """
    if models.is_published(weights):
        return
    folders = [one.removeprefix("file:") for one in allow]
    if not any(_lies_in(expanded(weights), folder) for folder in folders):
        raise NotAllowed(
            f"weights {weights}: files of this machine are not taken over the API; name them in "
            "the configuration, or their folder in serve.allow_models as file:FOLDER"
        )


def check_addresses(url: str, reach: Sequence[str] | None) -> None:
    """Refuse a source whose name leads to addresses that may not be asked; asks the name server.

    What it leads to later is looked at whenever it is connected to.

    Raises:
        NotAllowed: with the address.
    """
    host = None if reach is None or scheme_of(url) is None else urlsplit(url).hostname
    if reach is None or not host:
        return
    for place in addresses_of(host):
        if not is_allowed(reach, host, place):
            through = "" if place == host else f" {place},"
            raise NotAllowed(
                f"{mask_url(url)}: {host} is{through} a {range_of(place)} address; "
                f"name it in serve.allow as {scheme_of(url)}://{place} where it is meant"
            )


def _reach(url: str, allow: Sequence[str]) -> tuple[str, ...] | None:
    scheme = scheme_of(url)
    if scheme is None or scheme == "file":
        folders = [one.partition(":")[2] for one in allow if one.startswith("file:")]
        if not any(_lies_in(str(local_path(url)), folder) for folder in folders):
            raise NotAllowed(
                f"{mask_url(url)}: paths of this machine are not taken over the API; name the "
                "source in the configuration, or its folder in serve.allow as file:FOLDER"
            )
        return None
    hosts = tuple(_host_of(one) for one in allow if one.lower().startswith(f"{scheme}://"))
    if not hosts:
        raise NotAllowed(
            f"{mask_url(url)}: {scheme}:// is not taken over the API; name the source in the "
            f"configuration, or {scheme}://HOST in serve.allow"
        )
    if scheme in sources.SCHEMES and sources.SCHEMES[scheme].kind is sources.Kind.SYNTHETIC:
        return None
    host = _name(url)
    if not any("/" in one or fnmatchcase(host, one.lower()) for one in hosts):
        raise NotAllowed(
            f"{mask_url(url)}: the host is none of those in serve.allow; name it there as "
            f"{scheme}://{host}"
        )
    return hosts


def _check_sink(url: str, source_id: str, allow: Sequence[str], secrets: bool) -> None:
    parsed = parse_sink(url)
    name = parsed.scheme.name
    places = [one.partition(":")[2] for one in allow if one.partition(":")[0] == name]
    if not any(_sink_lies_in(parsed, source_id, place) for place in places):
        written = parsed.scheme.writes in ("file", "directory", "database")
        raise NotAllowed(
            f"sink {mask_url(url)!r}: is not taken over the API; name it in the configuration, or "
            f"{name}:{'FOLDER/' if written else '//HOST'} in serve.allow_sinks"
        )
    for key, _ in parse_qsl(url.partition("?")[2], keep_blank_values=True):
        if _OTHER_HOSTS.match(key):
            raise NotAllowed(
                f"sink {mask_url(url)!r}: {key} leads to other hosts, which is not taken over the "
                "API; name the sink in the configuration"
            )
        option = parsed.scheme.options.get(key)
        if key.endswith(("_env", "_file")) or (option is not None and option.reads):
            _need_secrets(secrets, f"sink {mask_url(url)!r}: {key}")


def _sink_lies_in(sink: SinkUrl, source_id: str, place: str) -> bool:
    if sink.scheme.writes in ("file", "directory", "database"):
        return not place.startswith("//") and _lies_in(sink.located(source_id), place)
    host = _name(f"{sink.scheme.name}:{sink.location}")
    if not place.startswith("//") or not host:
        return False
    wanted = (_host_of(place),)
    found = addresses_of(host)
    if not found:
        return fnmatchcase(host, wanted[0].lower())
    return all(is_allowed(wanted, host, one) for one in found)


def _need_secrets(allowed: bool, what: str) -> None:
    if not allowed:
        raise NotAllowed(
            f"{what}: names a file or variable of this machine, which is not taken over the API; "
            "name it in the configuration, or set serve.allow_secrets"
        )


def _is_of(known: SourceSettings | None, key: str, value: object) -> bool:
    return known is not None and getattr(known, key) == value


def _host_of(pattern: str) -> str:
    return pattern.partition("://")[2] if "://" in pattern else pattern.removeprefix("//")


def _name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _lies_in(path: str, folder: str) -> bool:
    """Whether a path is below a folder, wherever links on the way lead to."""
    if "\0" in path:
        return False
    there, top = os.path.realpath(path), os.path.realpath(expanded(folder))
    return os.path.commonpath([there, top]) == top != there
