"""`FrameSpans`: where one frame was, from when to when; plain values, whoever takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class FrameSpans:
    """One frame that was published. All times are seconds of one monotonic clock."""

    key: str
    """`run:source:epoch:frame`, as of its record."""
    source_id: str
    epoch: int
    index: int
    instances: int
    spans: tuple[tuple[str, float, float], ...]
    """Name, begin and end of each stage and of each sink, in the order in which they began."""
    now_s: float
    """When this was noted, by the same clock."""


TakeSpans: TypeAlias = Callable[[FrameSpans], None]
"""Called in the thread of the loop, behind every frame; returns at once."""
