"""All track metrics of one sequence at once."""

from __future__ import annotations

from typing import Any

from pipeline.evaluation.clear import clear
from pipeline.evaluation.counts import TrackCounts
from pipeline.evaluation.hota import hota
from pipeline.evaluation.identity import identity
from pipeline.evaluation.judged import Judged


def count(judged: Judged) -> TrackCounts:
    """The counts of one sequence; add those of several, then ask for `scores()`."""
    sums: dict[str, Any] = {**hota(judged), **clear(judged), **identity(judged)}
    return TrackCounts(**sums)
