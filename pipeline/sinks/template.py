"""`{start}` in the path of files that roll: when each begins, in UTC."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_START = re.compile(r"\{start(?::([^{}]*))?\}")
_USUAL = "%Y%m%d-%H%M%S"
_DIRECTIVES = tuple("YmdHMSjyf")
"""What a format may hold, each behind a percent sign."""
_LATEST_S = 253_402_300_799.0
"""The last second of the year 9999; there are no names behind it."""
EARLY_S = 1e-6
"""A time stamp that was rounded down still is in its second, or period."""


def period_of(epoch: int, pts_s: float, length_s: float) -> tuple[int, int]:
    """The period of the source's own time that a frame is in: its epoch, and the number there."""
    return epoch, int((pts_s + EARLY_S) // length_s)


def moment(at_s: float) -> datetime:
    """A time since 1970 in UTC; what no calendar holds is the nearest that it does."""
    return datetime.fromtimestamp(min(max(at_s, 0.0), _LATEST_S), UTC)


def has_start(location: str) -> bool:
    """Whether a path has the placeholder."""
    return _START.search(location) is not None


def without_start(location: str) -> str:
    """The path with nothing where the placeholder is."""
    return _START.sub("", location)


def wrong_start(location: str, options: Mapping[str, Any]) -> str | None:
    """What is wrong with a path and the options `segment` and `keep`; None: nothing."""
    starts, rolls = has_start(location), options["segment"] is not None
    if starts and not rolls:
        return (
            "{start} is of files that follow each other; add ?segment=10min, or leave it out of "
            "the path"
        )
    if rolls and not starts:
        stem, suffix = os.path.splitext(location)
        return (
            "segment makes many files and the path names one; say where each begins, such as "
            f"video:{stem}-{{start:{_USUAL}}}{suffix}"
        )
    if options["keep"] is not None and not rolls:
        return "keep is of files that follow each other; add segment=10min, or leave it out"
    for match in _START.finditer(location):
        for directive in re.findall(r"%.?", match[1] or ""):
            if directive[1:] not in _DIRECTIVES:
                known = ", ".join(f"%{one}" for one in _DIRECTIVES)
                return f"{{start}} has {directive!r}, which is no time; known are {known}"
    if rolls and filled(location, 0.0) == filled(location, options["segment"]):
        return (
            "{start} is the same in two files that follow each other; let its format tell them "
            f"apart, such as {{start:{_USUAL}}}"
        )
    return None


def list_of(location: str) -> str:
    """The path of the list of all files of a template: it stands for what the sink writes.

    It lies in the folder that all of them have in common, and is called like them without a start.
    """
    folder = os.path.dirname(location[: location.index("{start")])
    rest = location[len(folder) :].lstrip("/")
    name = without_start(rest)
    name = name[: name.rfind(".")] if "." in os.path.basename(name) else name
    name = re.sub(r"[-_ /]+", "-", name).strip("-.") or "video"
    return os.path.join(folder, f"{name}.segments")


def filled(location: str, at_s: float) -> str:
    """The path of the file that begins then, seconds since 1970."""
    at = moment(at_s + EARLY_S)
    return _START.sub(lambda match: at.strftime(match[1] or _USUAL), location)
