"""Speeds measured on this machine, remembered from one command to another for `maskstream models`.

They are figures for a reader and nothing depends on them: what cannot be read or kept is a word.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.errors import in_one_line
from pipeline.reading import read_small

_FORMAT = 1
_MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class MeasuredSpeed:
    """Of one model on one device."""

    model: str
    device: str
    ms: float
    """A picture, from uint8 to instances."""
    width: int
    """Of the picture."""
    height: int
    day: str
    """`2026-11-29`."""
    versions: str
    """Of maskstream and torch."""
    host: str
    """A home may be that of many machines."""

    def __str__(self) -> str:
        """As `maskstream models` says it."""
        return (
            f"{1e3 / self.ms:.2g} frames/s of {self.width}x{self.height} on {self.device}, "
            f"measured on {self.day}"
        )


def speeds_path() -> Path:
    """The file, in the user's folder for caches."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(cache) if os.path.isabs(cache) else Path(os.path.expanduser("~/.cache"))
    return home / "maskstream" / "speeds.json"


def known_speeds() -> tuple[list[MeasuredSpeed], str]:
    """What was measured on this machine, the newest last; and a word where the file is no use."""
    path = speeds_path()
    try:
        found = _parsed(read_small(path, max_bytes=_MAX_BYTES))
    except FileNotFoundError:
        return [], ""
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return [], f"{path} is left out, it holds no measured speeds: {in_one_line(error)}"
    return [speed for speed in found if speed.host == platform.node()], ""


def remember(speeds: Sequence[MeasuredSpeed]) -> str:
    """Keep them in the place of older ones of these models on these devices.

    Returns:
        A word where that is not possible.
    """
    path = speeds_path()
    if not speeds:
        return ""
    try:
        kept = _parsed(read_small(path, max_bytes=_MAX_BYTES))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        kept = []  # of no use to anybody
    new = {(one.model, one.device, one.host): one for one in speeds}
    kept = [one for one in kept if (one.model, one.device, one.host) not in new]
    text = json.dumps({"format": _FORMAT, "speeds": [asdict(one) for one in (*kept, *speeds)]})
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        return f"the speeds are not remembered: cannot write {path}: {error.strerror}"
    return ""


def _parsed(data: bytes) -> list[MeasuredSpeed]:
    told = json.loads(data)
    if told["format"] != _FORMAT:
        raise ValueError(
            f"it is of format {str(told['format'])[:20]}, this version reads {_FORMAT}"
        )
    speeds = [MeasuredSpeed(**row) for row in told["speeds"]]
    for speed in speeds:
        texts = (speed.model, speed.device, speed.day, speed.versions, speed.host)
        numbers = (speed.ms, speed.width, speed.height)
        if not all(isinstance(one, str) for one in texts):
            raise ValueError("it holds a number where a text should be")
        if not all(isinstance(one, int | float) and one > 0 for one in numbers):
            raise ValueError("it holds a number that cannot be")
    return speeds
