"""What the place and the options of a service have to be: known from their words, to `check` too.

A rule is told the place, the options and the id of a source, and says what is wrong, or None. No
library of any service is imported for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pipeline.sinks.services import ServicePlace

Rule: TypeAlias = Callable[[Any, Mapping[str, Any], str], str | None]
"""The place is a `ServicePlace`, None where the kind of sink is no service."""

_HOST_PORT = re.compile(r"([^\s/@:\[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
_PREFIX = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9!_.*'()=+-]+")
_CONTAINER = re.compile(r"[a-z0-9](-?[a-z0-9]){2,}")
_LONGEST_CONTAINER = 63
_LONGEST_PREFIX = 500
_LONGEST_SLICE_S = 3600.0
"""Its pieces have numbers of four digits."""
_HERE = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")
_LONGEST_TOPIC_BYTES = 65_535
_LONGEST_STREAM_ID = 512
"""Of SRT, bytes."""
_LONGEST_NAME_BYTES = 255
"""Of AMQP."""


def postgresql(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """A database, and a schema that may be made."""
    if not place.path or "/" in place.path:
        return "expected HOST/DATABASE"
    if options["schema"].startswith("pg_"):
        return f"schema {options['schema']}: names with pg_ are PostgreSQL's own; name another"
    return _unnamed(place, options)


def redis(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """A number of a database, or none."""
    if place.path and not re.fullmatch(r"[0-9]{1,9}", place.path):
        return "expected the number of a database behind the host"
    return None


def nats(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """Names without what has a meaning in them."""
    subject = options["subject"].replace("{source}", source_id)
    if not re.fullmatch(r"[^\s.*>]+(\.[^\s.*>]+)*", subject):
        return (
            f"{subject!r} is no subject of NATS to publish to; expected words with one dot "
            "between, without * and >"
        )
    if not re.fullmatch(r"[^\s.*>/\\{}]{1,255}", options["stream"]):
        return (
            f"{options['stream']!r} is no name of a stream; expected one without blanks, dots, "
            "slashes, braces, * and >"
        )
    return _no_path(place, "subject")


def mqtt(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """Topics that may be published to."""
    records = options["topic"].replace("{source}", source_id)
    for topic in filter(None, (records, options["discovery"])):
        too_long = len(topic.encode(errors="replace")) > _LONGEST_TOPIC_BYTES // 2
        if too_long or topic.startswith("$") or {"+", "#", "\0", "{"} & set(topic):
            return (
                f"{topic[:80]!r} is no topic of MQTT to publish to; expected words without + and "
                "#, the first without $"
            )
    if options["discovery"] is not None and options["encoding"] != "json":
        return "what discovery= tells Home Assistant of reads JSON; leave encoding out"
    return _no_path(place, "topic") or _unnamed(place, options)


def kafka(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """A topic, and brokers with their ports."""
    topic = options["topic"].replace("{source}", source_id)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic) or topic in (".", ".."):
        return (
            f"{topic!r} is no topic of Kafka; expected letters, digits, '.', '_' and '-', at most "
            "249"
        )
    for broker in options["brokers"] or ():
        if not _HOST_PORT.fullmatch(broker):
            return f"brokers: {broker!r} is none; expected HOST:PORT"
    if options["sasl"] and not (place.username or options["username"]):
        return (
            "sasl says how we say who we are, and nobody is named; add username=, or leave it out"
        )
    return _no_path(place, "topic") or _unnamed(place, options)


def amqp(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """Names that are short enough, and a key to publish with."""
    names = (options["exchange"], options["routing_key"], options["queue"])
    for name in (name.replace("{source}", source_id) for name in names if name is not None):
        if len(name.encode(errors="replace")) > _LONGEST_NAME_BYTES:
            return f"{name!r} is no name of AMQP; expected at most {_LONGEST_NAME_BYTES} bytes"
    if {"*", "#"} & set(options["routing_key"].split(".")):
        return (
            f"{options['routing_key']!r} is no routing key to publish with; expected words with "
            "dots between, without * and #"
        )
    return _unnamed(place, options)


def webhook(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """Lines only of what has lines."""
    if options["batch"] > 1 and options["encoding"] != "json":
        return "a batch is lines of JSON; leave batch or encoding out"
    return None


def s3(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """A bucket, a prefix that leads nowhere else, whole seconds, and a store."""
    if place.port is not None:
        return "a bucket has no port; a store of your own is s3://BUCKET?endpoint=http://HOST:PORT"
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", place.host):
        return (
            f"{place.host!r} is no name of a bucket; expected 3 to 63 small letters, digits, '-' "
            "and '.'"
        )
    return (
        _no_objects(place, options)
        or _no_store(options["endpoint"], plain=options["unencrypted"])
        or _unnamed(place, options)
    )


def azure(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """A container, a prefix that leads nowhere else, whole seconds, and a store."""
    if place.port is not None:
        return "a container has no port; one that is elsewhere is az://CONTAINER?endpoint=URL"
    if len(place.host) > _LONGEST_CONTAINER or not _CONTAINER.fullmatch(place.host):
        return (
            f"{place.host!r} is no name of a container; expected 3 to {_LONGEST_CONTAINER} small "
            "letters and digits, a '-' only between two of them"
        )
    return (
        _no_objects(place, options)
        or _no_store(options["endpoint"], plain=options["unencrypted"], account=True)
        or _unnamed(place, options)
    )


def _no_objects(place: ServicePlace, options: Mapping[str, Any]) -> str | None:
    prefix = place.path.rstrip("/")
    parts = prefix.split("/") if prefix else []
    if len(prefix) > _LONGEST_PREFIX or not all(map(_PREFIX.fullmatch, parts)):
        return (
            f"{prefix[:80]!r} is no prefix; expected names with '/' between, of letters, digits "
            f"and !_.*'()=+-, none of them '.' or '..', at most {_LONGEST_PREFIX}"
        )
    if options["slice"] % 1 or options["slice"] > _LONGEST_SLICE_S:
        return "slice must be of whole seconds, at most 1h"
    return None


def _no_store(endpoint: str | None, *, plain: bool, account: bool = False) -> str | None:
    if endpoint is None:
        return None
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        below = parts.path.strip("/")
        bare = not below or (account and below.isalnum())
        bare = bare and "@" not in endpoint and endpoint.isprintable()
        bare = bare and not (parts.query or parts.fragment)
    except ValueError:
        good = bare = False
    if not (good and bare):
        return (
            f"endpoint must be https://HOST[:PORT]{'[/ACCOUNT]' if account else ''} and nothing "
            "more; who we are is said with username= and password_env="
        )
    if parts.scheme == "http" and not (plain or _HERE.fullmatch(parts.hostname or "")):
        return (
            f"{endpoint} is not encrypted, everybody on the way can read what is sent; use "
            "https://, or say unencrypted=1"
        )
    return None


def udp(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """A port, and nothing behind it."""
    if place.port is None:
        return "expected //HOST:PORT behind the colon"
    return "nothing stands behind //HOST:PORT" if place.path else None


def srt(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """A port and no path; one secret, which is not read where everybody reads it."""
    if place.port is None:
        return "expected //HOST:PORT behind the colon"
    if place.path:
        return (
            "nothing stands behind //HOST:PORT; what a server tells streams apart by is streamid="
        )
    if place.username or place.password:
        return "SRT knows no user names; its passphrase is named by password_env= or password_file="
    stream_id = (options["streamid"] or "").replace("{source}", source_id)
    if len(stream_id.encode(errors="replace")) > _LONGEST_STREAM_ID:
        return f"streamid must have at most {_LONGEST_STREAM_ID} bytes"
    return None


def live(place: ServicePlace, options: Mapping[str, Any], source_id: str) -> str | None:
    """A place in the server, and a name for every password."""
    if not (place.path or options["key_env"] or options["key_file"]):
        return "expected //HOST/PATH behind the colon"
    return _unnamed(place, options)


def crops(place: None, options: Mapping[str, Any], source_id: str) -> str | None:
    """Transparency only where the format has it."""
    if options["cutout"] and options["format"] != "png":
        return "cutout makes the rest transparent, which jpg cannot; add format=png"
    return None


def encrypted(place: ServicePlace, options: Mapping[str, Any]) -> str | None:
    """Certificates, and that they are asked for; without these they would count for nothing."""
    given = [key for key in ("tls_ca_file", "tls_cert_file", "tls_key_file") if options.get(key)]
    if given and not options.get("tls", True):
        return f"{given[0]} is given and nothing is encrypted; add tls=1, or leave it out"
    if given == ["tls_key_file"] or given == ["tls_ca_file", "tls_key_file"]:
        return "tls_key_file is the key of a tls_cert_file, which is not given"
    return None


def _no_path(place: ServicePlace, key: str) -> str | None:
    if place.path:
        return f"nothing stands behind the host; the {key} is named by ?{key}="
    return None


def _unnamed(place: ServicePlace, options: Mapping[str, Any]) -> str | None:
    """A password without a name would not be sent."""
    named = place.username or options["username"]
    secret = place.password or options["password_env"] or options["password_file"]
    return "a password is given and no username" if secret and not named else None
