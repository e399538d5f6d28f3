"""The one type of clock that is handed around: a callable that returns seconds."""

from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds from an arbitrary start, never going back: `time.monotonic` or a manual clock."""
