"""`Lineup`: the models of a run in this process, where it may get another while it goes on.

Almost always there is one. While streams change over there are two: each stream says at which
frame it leaves the one for the other, and a model that no stream has any more ends.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future

from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.metrics.counts import WorkerCounts
from pipeline.runtime.serving import Serving
from pipeline.stages import ModelInfo
from pipeline.turns import Turn

NAME = "local"
"""Of the worker that is this process; a number behind it tells later models apart."""


class Lineup:
    """All of them, by their numbers; safe from any thread.

    Args:
        first: that of the start; not closed here.
        signed: how records are to call it; None: as it calls itself.
    """

    def __init__(self, first: Serving, signed: ModelInfo | None = None) -> None:
        self.current = 0
        """The number of the model with which streams begin."""
        self._infos = {0: signed}
        self._servings = {0: first}
        self._over: list[Serving] = []
        self._lock = threading.Lock()

    def segmenter(self, turn: Turn) -> OfStream:
        """For a stream that begins now, with claims of its own."""
        return OfStream(self, self.current, self._infos[self.current], turn)

    def bring(self, number: int, serving: Serving) -> None:
        """Another model is being loaded."""
        with self._lock:
            self._servings[number] = serving

    def turn_away(self) -> None:
        """It is not wanted, or cannot be loaded."""
        with self._lock:
            for number in [n for n in self._servings if n > self.current]:
                self._end(number)

    def adopt(self, number: int, info: ModelInfo) -> None:
        """Streams begin with it from now on."""
        self._infos[number] = info
        self.current = number

    def retire(self, used: Iterable[int]) -> None:
        """End the models before the current one that none of these is; returns at once."""
        with self._lock:
            needed = set(used)
            for number in [n for n in self._servings if n < self.current and n not in needed]:
                self._end(number)

    def submit(self, number: int, frames: Sequence[Frame], turn: Turn) -> list[Future[Instances]]:
        """Let frames wait for a batch of this model."""
        return self._servings[number].submit(frames, turn=turn)

    def info(self, number: int) -> ModelInfo:
        """Of a model, as records are to name it; waits until it is there."""
        return self._infos[number] or self._servings[number].info

    def counts(self) -> tuple[WorkerCounts, ...]:
        """Of each that is there."""
        with self._lock:
            return tuple(
                serving.counts(f"{NAME}-{number}" if number else NAME)
                for number, serving in self._servings.items()
            )

    def close(self) -> None:
        """End all that came later than the first, and wait for that; safe twice."""
        with self._lock:
            for number in [n for n in self._servings if n]:
                self._end(number)
            over, self._over = self._over, []
        for serving in over:
            serving.close()

    def _end(self, number: int) -> None:
        serving = self._servings.pop(number)
        serving.leave()
        self._over = [one for one in self._over if not one.join(0.0)] + [serving]


class OfStream:
    """The segmenter of one stream; a `Switchable`."""

    def __init__(self, lineup: Lineup, model: int, info: ModelInfo | None, turn: Turn) -> None:
        self.model = model
        self._turn = turn
        self._lineup = lineup
        self._info = info

    @property
    def info(self) -> ModelInfo:
        """Of the model that segments what is submitted."""
        if self._info is None:
            self._info = self._lineup.info(self.model)
        return self._info

    def submit(self, frames: Sequence[Frame]) -> list[Future[Instances]]:
        """See `pipeline.stages.AsyncSegmenter`."""
        return self._lineup.submit(self.model, frames, self._turn)

    def switch(self, model: int, info: ModelInfo) -> None:
        """See `pipeline.stages.Switchable`."""
        self.model, self._info = model, info

    def close(self) -> None:
        """The models are not its own."""
