"""`?every=`, `?only=` and `?min_score=` of every sink: less for one sink than for the others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.delivery.promise import promise_of
from pipeline.delivery.service import service_of, state_of
from pipeline.errors import ConfigError
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.template import period_of
from pipeline.stages import Position, Sink, StreamEnd, check_resume, resume_keeping

_REMEMBERED = 4096
"""Tracks of which is known that they reached the score; the one not seen for longest goes first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which frames, and which instances in them; by default all."""

    min_score: float = 0.0
    only: tuple[str, ...] = ()
    """Names of classes; none: all of them."""
    every_s: float = 0.0
    """The first frame of every such period of the source's own time; 0: each frame."""

    @property
    def leaves_out(self) -> bool:
        """Whether there is anything to do."""
        return self != Choice()


class Chooser:
    """Makes a choice, frame after frame; what it remembers can be kept as JSON."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._reached: dict[int, None] = {}
        """Tracks that passed, the one seen last at the end."""
        self._period: tuple[int, int] | None = None
        """Epoch and number of the last period of which a frame was taken."""

    def takes(self, result: FrameResult) -> bool:
        """Whether this frame counts."""
        return not self._choice.every_s or self._period_of(result) != self._period

    def took(self, result: FrameResult) -> None:
        """The frame was passed on."""
        if self._choice.every_s:
            self._period = self._period_of(result)

    def _period_of(self, result: FrameResult) -> tuple[int, int]:
        return period_of(result.epoch, result.pts_s, self._choice.every_s)

    def passing(self, result: FrameResult) -> NDArray[np.bool_]:
        """Which instances count: a track once it has reached the score, others by themselves."""
        instances = result.instances
        kept = instances.scores >= np.float32(self._choice.min_score)
        if instances.track_ids is not None and self._choice.min_score:
            kept = self._once_reached(instances.track_ids.tolist(), kept)
        if self._choice.only:
            names = (result.labels.get(c, str(c)) for c in instances.class_ids.tolist())
            kept &= np.array([name in self._choice.only for name in names], np.bool_)
        return kept

    def _once_reached(self, tracks: list[int], high: NDArray[np.bool_]) -> NDArray[np.bool_]:
        for track, reaches in zip(tracks, high.tolist(), strict=True):
            if reaches or track in self._reached:
                self._reached.pop(track, None)
                self._reached[track] = None
        while len(self._reached) > _REMEMBERED:
            del self._reached[next(iter(self._reached))]
        return np.array([track in self._reached for track in tracks], np.bool_)

    def remembered(self) -> Position:
        """What `remember` goes on from."""
        period = {} if self._period is None else {"period": list(self._period)}
        return {"reached": list(self._reached), **period}

    def remember(self, position: Position) -> None:
        """Go on with the same tracks, in the same period."""
        self._reached = dict.fromkeys(position["reached"])
        period = position.get("period")
        self._period = None if period is None else (period[0], period[1])


class Chosen:
    """Passes on the frames and instances of a choice.

    What the wrapped sink guarantees holds; what the choice remembers is part of the position. The
    picture the sink draws shows the same instances as it is given.

    Args:
        sink: where the rest goes.
        choice: what that is.
    """

    def __init__(self, sink: Sink, choice: Choice) -> None:
        self._sink = sink
        self.promise = promise_of(sink)
        self.service = service_of(sink)
        self.state = state_of(sink)
        self._chooser = Chooser(choice)

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Pass on what counts."""
        if not self._chooser.takes(result):
            return
        kept = self._chooser.passing(result)
        if not kept.all():
            result = replace(result, instances=result.instances[kept])
            picture = picture.showing(result.instances, result.labels)
        self._sink.write(result, picture)
        self._chooser.took(result)  # not before: where the sink is busy it comes again

    def flush(self) -> Position:
        """Where the sink stands, and what has passed."""
        return {"sink": self._sink.flush(), **self._chooser.remembered()}

    def check_resume(self, position: Position) -> None:
        """Whether it was written with a choice, and the sink behind agrees."""
        check_resume(self._sink, _inner(position))

    def resume(self, position: Position) -> None:
        """Go on with the same choice."""
        inner = _inner(position)
        self._chooser.remember(position)
        self._sink.resume(inner)

    def resume_keeping(self, position: Position) -> None:
        """Go on with the same choice, and keep what the sink has whole."""
        inner = _inner(position)
        self._chooser.remember(position)
        resume_keeping(self._sink, inner)

    def finish(self, end: StreamEnd) -> None:
        """Pass on the end."""
        self._sink.finish(end)

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


def _inner(position: Position) -> Position:
    if "reached" not in position:
        raise ConfigError(
            "a sink with min_score, only or every cannot be resumed from a checkpoint without it; "
            "use the same options again or start over with --overwrite"
        )
    sink: Position = position["sink"]
    return sink
