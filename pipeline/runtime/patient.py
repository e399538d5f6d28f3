"""`Patient`: a model of somebody else's that is left behind where a call of it does not come back.

A thread cannot be ended from outside. So each life of the model has a thread of its own, and one
that hangs is no longer waited for: its frames have failed, and the model is made anew. On Ray a
worker is replaced instead (`workers.lives.Headway`), with the same patience.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any, TypeAlias

from pipeline.arrays import Image
from pipeline.attempt import BUG
from pipeline.clock import Clock
from pipeline.errors import SegmentFailed
from pipeline.instances import Instances
from pipeline.stages import ModelInfo, Segmenter

log = logging.getLogger(__name__)

SLACK = 3.0
"""A batch may take this many times what its frames took lately, beside its timeout."""
LOADED_WITHIN_S = 300.0
"""A model that is made anew; for the first one its run waits as long as its user does."""
MAX_LEFT = 12
"""Lives that hang at one time: each keeps its thread, and what the model holds, in memory."""

_Call: TypeAlias = Callable[[Segmenter], Any]


class Patient:
    """A `Segmenter` that answers in time.

    Args:
        load: makes the model; called once for each of its lives.
        batch_timeout_s: what a batch may take, beside `SLACK` times what its frames took lately.
        clock: monotonic seconds.
    """

    def __init__(
        self, load: Callable[[], Segmenter], batch_timeout_s: float, clock: Clock = time.monotonic
    ) -> None:
        self._load = load
        self._batch_timeout_s = batch_timeout_s
        self._clock = clock
        self._seconds_per_frame = 0.0
        self._left: list[_Life] = []
        self._life: _Life | None = _Life(load)
        self.info: ModelInfo = self._life.ready.result()

    def segment(self, images: Sequence[Image]) -> list[Instances]:
        """See `Segmenter`.

        Raises:
            SegmentFailed: it does not come back, or has not too often.
        """
        life = self._there()
        limit_s = self._batch_timeout_s + SLACK * len(images) * self._seconds_per_frame
        began_s = self._clock()
        answer = life.ask(lambda model: model.segment(images))
        if not wait([answer], limit_s).done:
            self._life = None
            self._left.append(life)
            life.leave()
            text = f"the model has not come back for {limit_s:.0f} s"
            log.warning("%s; it is made anew", text)
            raise SegmentFailed(BUG, text)
        found: list[Instances] = answer.result()
        took_s = (self._clock() - began_s) / len(images)
        self._seconds_per_frame += 0.2 * (took_s - self._seconds_per_frame)
        return found

    def close(self) -> None:
        """Release it, if it comes back in time."""
        life, self._life = self._life, None
        if life is not None:
            closed = life.leave()
            if wait([closed], self._batch_timeout_s).done:
                closed.result()

    def _there(self) -> _Life:
        """The present life, or a new one."""
        if self._life is None:
            self._left = [life for life in self._left if life.hangs]
            if len(self._left) == MAX_LEFT:
                raise SegmentFailed(BUG, f"{MAX_LEFT} calls of the model hang; it is not made anew")
            life = _Life(self._load)
            self.info = life.ready.result(LOADED_WITHIN_S)
            self._life = life
        return self._life


class _Life:
    """A model in a thread of its own, which makes it and closes it."""

    def __init__(self, load: Callable[[], Segmenter]) -> None:
        self.ready: Future[ModelInfo] = Future()
        self._calls: queue.SimpleQueue[tuple[_Call, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(load,), name="model", daemon=True)
        self._thread.start()

    @property
    def hangs(self) -> bool:
        """Whether its thread is still there."""
        return self._thread.is_alive()

    def ask(self, call: _Call) -> Future[Any]:
        """What a call of the model answers."""
        answer: Future[Any] = Future()
        self._calls.put((call, answer))
        return answer

    def leave(self) -> Future[Any]:
        """Close it, and end, behind what it was asked."""
        closed = self.ask(lambda model: model.close())
        self._calls.put(None)
        return closed

    def _run(self, load: Callable[[], Segmenter]) -> None:
        try:
            model = load()
            self.ready.set_result(model.info)
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
            self.ready.set_exception(error)
            return
        while (asked := self._calls.get()) is not None:
            call, answer = asked
            try:
                answer.set_result(call(model))
            except BaseException as error:  # noqa: BLE001 - likewise
                answer.set_exception(error)
