"""One line for each change that somebody asked for: who, what, with which result."""

from __future__ import annotations

import json
import logging

from pipeline.plain import plain
from pipeline.secrets import scrub
from pipeline.service.access.door import Caller

log = logging.getLogger("maskstream.audit")

_SHOWN = 120


def note(caller: Caller, method: str, path: str, body: bytes, status: int) -> None:
    """Write down a change that was asked for; which keys it sets, never their values."""
    role = caller.role or "nobody"
    what = f"{method} {path}{_told(body) if path != '/v1/session' else ''}"
    log.info("audit: %s at %s: %s: %d", role, plain(caller.address), plain(scrub(what)), status)


def note_wrong_token(caller: Caller, method: str, path: str) -> None:
    """Somebody has shown a token that is none."""
    log.warning(
        "audit: wrong token from %s: %s %s", plain(caller.address), method, plain(path[:_SHOWN])
    )


def _told(body: bytes) -> str:
    """The id and the keys that a body holds."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(values, dict):
        return ""
    name = values.get("id")
    keys = ", ".join(str(key)[:32] for key in list(values)[:16] if key != "id")
    return f" {name[:64] if isinstance(name, str) else ''} ({keys})"
