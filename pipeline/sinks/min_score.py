"""`?min_score=` of every sink: fewer instances for one sink than for the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.delivery.promise import promise_of
from pipeline.errors import ConfigError
from pipeline.instances import Instances
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Position, Sink, StreamEnd, check_resume, resume_keeping

_REMEMBERED = 4096
"""Tracks of which is known that they reached the score; the one not seen for longest goes first."""


class MinScore:
    """Passes on what reached a score: a track from then on, an untracked instance by itself.

    What the wrapped sink guarantees holds; which tracks have passed is part of the position. The
    picture the sink draws shows the same instances as it is given.

    Args:
        sink: where the rest goes.
        min_score: from 0 to 1.
    """

    def __init__(self, sink: Sink, min_score: float) -> None:
        self._sink = sink
        self.promise = promise_of(sink)
        self._min_score = np.float32(min_score)
        self._reached: dict[int, None] = {}
        """Track ids, the one seen last at the end."""

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Pass on the instances that count."""
        kept = self._passing(result.instances)
        if not kept.all():
            result = replace(result, instances=result.instances[kept])
            picture = picture.showing(result.instances, result.labels)
        self._sink.write(result, picture)

    def flush(self) -> Position:
        """Where the sink stands, and which tracks have passed."""
        return {"sink": self._sink.flush(), "reached": list(self._reached)}

    def check_resume(self, position: Position) -> None:
        """Whether it was written with a `min_score`, and the sink behind agrees."""
        check_resume(self._sink, self._inner(position))

    def resume(self, position: Position) -> None:
        """Go on with the same tracks."""
        self._sink.resume(self._remember(position))

    def resume_keeping(self, position: Position) -> None:
        """Go on with the same tracks, and keep what the sink has whole."""
        resume_keeping(self._sink, self._remember(position))

    def _remember(self, position: Position) -> Position:
        inner = self._inner(position)
        self._reached = dict.fromkeys(position["reached"])
        return inner

    def _inner(self, position: Position) -> Position:
        if "reached" not in position:
            raise ConfigError(
                "a sink with min_score cannot be resumed from a checkpoint without it; "
                "use the same options again or start over with --overwrite"
            )
        sink: Position = position["sink"]
        return sink

    def finish(self, end: StreamEnd) -> None:
        """Pass on the end."""
        self._sink.finish(end)

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()

    def _passing(self, instances: Instances) -> NDArray[np.bool_]:
        high = instances.scores >= self._min_score
        if instances.track_ids is None:
            return high
        tracks = instances.track_ids.tolist()
        for track, reaches in zip(tracks, high.tolist(), strict=True):
            if reaches or track in self._reached:
                self._reached.pop(track, None)
                self._reached[track] = None
        while len(self._reached) > _REMEMBERED:
            del self._reached[next(iter(self._reached))]
        return np.array([track in self._reached for track in tracks], np.bool_)
