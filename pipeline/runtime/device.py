"""The batches under way on the device of a model.

A model that can begin a batch before it has ended another (`begin`, up to `depth` of them) works on
several; any other does one batch after another. What goes wrong with a batch is tried again in
halves, until the frames that fail stand alone.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from pipeline.arrays import Image
from pipeline.attempt import BUG, attempt
from pipeline.batching import isolate
from pipeline.clock import Clock
from pipeline.errors import SegmentFailed
from pipeline.instances import Instances
from pipeline.stages import Measured, Overlapping, Segmenter

LOST = ("CUDA error", "Triton Error [CUDA]")
"""Beginnings of what a device says that has failed: nothing in its process can use it again."""
MAX_BUGS = 3
"""Batches in a row that may fail in ways nobody foresaw before the worker asks to be replaced."""

Segmented: TypeAlias = Instances | SegmentFailed
_End: TypeAlias = Callable[[], Sequence[Instances]]


@dataclass(frozen=True, slots=True, eq=False)
class _UnderWay:
    images: list[Image]
    end: _End
    began: float


class Device:
    """Runs batches on a model in the order they come; used by one thread, read by any.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self.depth = 1
        """Batches that may be under way at once."""
        self.batches: Counter[int] = Counter()
        self.failed: Counter[str] = Counter()
        self.busy_s = 0.0
        self.buckets = 0
        """Different padded sizes of pictures the model has met."""
        self.seconds_per_frame = 0.0
        self.steps = 0
        """Calls of the model that have ended, well or not."""
        self.broken: str | None = None
        self._clock = clock
        self._segmenter: Segmenter | None = None
        self._measured: Measured | None = None
        self._overlapping: Overlapping | None = None
        self._under_way: deque[_UnderWay] = deque()
        self._last_end = 0.0
        self._bugs = 0

    def use(self, segmenter: Segmenter, trial: Sequence[Image]) -> None:
        """Run this model from now on, and time it on `trial` if that is any picture."""
        if trial:
            began = self._clock()
            segmenter.segment(trial)
            self.seconds_per_frame = (self._clock() - began) / len(trial)
        self._segmenter = segmenter
        if trial:
            self._look(segmenter)

    def begin(self, images: list[Image]) -> None:
        """Put a batch on the device; at most `depth` may be under way."""
        now = self._clock()
        self._under_way.append(_UnderWay(images, self._started(images), now))

    def end(self) -> list[Segmented]:
        """Wait for the oldest batch under way and count it; a frame that fails twice has failed."""
        oldest = self._under_way.popleft()
        outcomes = self._outcomes(oldest)
        if not self.batches:
            self._look(self._segmenter)
        self._note(outcomes, self._clock() - max(oldest.began, self._last_end))
        self._last_end = self._clock()
        return outcomes

    def close(self) -> None:
        """Release the model, after all batches."""
        if self._segmenter is not None:
            self._segmenter.close()

    def _look(self, model: object) -> None:
        """What the model can do beyond; it knows that after its first batch."""
        self._measured = model if isinstance(model, Measured) else None
        if isinstance(model, Overlapping) and model.depth > 1:
            self._overlapping, self.depth = model, model.depth

    def _started(self, images: list[Image]) -> _End:
        """The function that ends a batch; where it could not begin, that tells why."""
        if self._overlapping is None:
            return partial(self._segment, images)
        try:
            return self._overlapping.begin(images)
        except BaseException as error:  # noqa: BLE001 - raised again by the function returned
            failure = error

        def fail() -> Sequence[Instances]:
            raise failure

        return fail

    def _outcomes(self, under_way: _UnderWay) -> list[Segmented]:
        begun = [under_way.end]

        def work(some: Sequence[Image]) -> Sequence[Instances]:
            try:
                return attempt(begun.pop() if begun else partial(self._segment, some), some)
            finally:
                self.steps += 1

        return list(isolate(work, under_way.images, SegmentFailed))

    def _segment(self, images: Sequence[Image]) -> Sequence[Instances]:
        assert self._segmenter is not None, "`use` comes first"  # noqa: S101 - a bug of ours
        return self._segmenter.segment(images)

    def _note(self, outcomes: list[Segmented], took_s: float) -> None:
        """Count a batch. A device that fails everything stays broken until its process is gone."""
        self.batches[len(outcomes)] += 1
        self.busy_s += took_s
        self.seconds_per_frame += 0.2 * (took_s / len(outcomes) - self.seconds_per_frame)
        if self._measured is not None:
            self.buckets = len(self._measured.buckets)
        failed = [outcome for outcome in outcomes if isinstance(outcome, SegmentFailed)]
        self.failed.update(failure.cause for failure in failed)
        bugs = [failure for failure in failed if failure.cause == BUG]
        self._bugs = self._bugs + 1 if len(bugs) == len(outcomes) else 0
        if self._bugs and any(word in bugs[0].detail for word in LOST):
            self.broken = f"the device is lost: {bugs[0].detail}"
        elif self._bugs >= MAX_BUGS:
            self.broken = f"the model failed {self._bugs} batches running: {bugs[0].detail}"
