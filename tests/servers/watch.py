"""Runs streams with a segmenter of fixed latency and notes what was published when."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.accounting import StreamAccount, StreamCounts
from pipeline.instances import Instances
from pipeline.picture import Picture
from pipeline.render.pictures import make_picture
from pipeline.results import FrameResult
from pipeline.runtime import Serving
from pipeline.sources import open_source
from pipeline.stages import ModelInfo, Position, StreamEnd
from pipeline.stream import Drain, Stream, StreamSettings
from pipeline.testing import make_instances
from pipeline.tracking import make_tracker

INFO = ModelInfo("latency", {1: "thing"}, "")


class FixedLatency:
    """A segmenter that takes as long for one picture as for a full batch.

    Args:
        latency_s: so long.
        finds: instances in every picture, always the same.
    """

    info = INFO

    def __init__(self, latency_s: float, *, finds: int = 0) -> None:
        self.latency_s = latency_s
        self.finds = finds

    def segment(self, images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        time.sleep(self.latency_s)
        return [make_instances(self.finds, size=image.shape[:2]) for image in images]

    def close(self) -> None:
        """There is nothing to release."""


@dataclass(frozen=True, slots=True)
class Published:
    """One result."""

    at_s: float
    """Monotonic."""
    age_s: float
    """Since the picture came, or was taken where the sender says when."""
    epoch: int
    index: int
    predicted: bool
    """Its instances were carried by the tracker."""


@dataclass(eq=False)
class Notes:
    """A sink that notes when results come."""

    published: list[Published] = field(default_factory=list)

    def write(self, result: FrameResult, picture: Picture) -> None:
        age_s = time.time() - (result.captured_at_s or 0.0)
        predicted = result.instances.predicted
        carried = predicted is not None and bool(predicted.any())
        self.published.append(
            Published(time.monotonic(), age_s, result.epoch, result.index, carried)
        )

    def flush(self) -> Position:
        return {}

    def resume(self, position: Position) -> None:
        """Nothing to cut back."""

    def finish(self, end: StreamEnd) -> None:
        """Nothing to finish."""

    def close(self) -> None:
        """Nothing to close."""


class Watched:
    """A stream in a thread, its state looked at twenty times a second."""

    def __init__(
        self,
        url: str,
        segmenter: Serving,
        *,
        name: str,
        max_latency_s: float | None = None,
        adaptive: bool | None = None,
    ) -> None:
        """Args: `adaptive` is None without a tracker, else whether it may carry under overload."""
        self.notes = Notes()
        self.account = StreamAccount(name)
        self.source: Any = open_source(url, source_id=name)
        self.states: list[tuple[float, str]] = []
        self.unbalanced: list[StreamCounts] = []
        self._stream = Stream(
            self.source,
            segmenter,
            tracker=None if adaptive is None else make_tracker(class_names=INFO.labels),
            camera=None,
            sinks=[("notes", self.notes)],
            run="run",
            settings=StreamSettings(max_latency_s=max_latency_s, adaptive=bool(adaptive)),
            account=self.account,
            make_picture=make_picture,
        )
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._stream.run, self._look)
        ]
        for thread in self._threads:
            thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            counts = self.account.snapshot()
            if not counts.balanced():
                self.unbalanced.append(counts)
            if not self.states or self.states[-1][1] != counts.state:
                self.states.append((time.monotonic(), counts.state))

    @property
    def published(self) -> list[Published]:
        return self.notes.published

    def wait_for_frames(self, count: int, *, within_s: float = 20.0) -> None:
        deadline = time.monotonic() + within_s
        while len(self.published) < count:
            assert time.monotonic() < deadline, f"{len(self.published)} of {count} frames came"
            time.sleep(0.05)

    def down_after(self, at_s: float) -> float | None:
        """Seconds from `at_s` until it no longer said it was streaming."""
        later = [when for when, state in self.states if when >= at_s and state != "streaming"]
        return later[0] - at_s if later else None

    def first_after(self, at_s: float, *, new_epoch: bool = False) -> float:
        """Seconds from `at_s` until something was published, of a later epoch if that is asked."""
        before = max(p.epoch for p in self.published if p.at_s < at_s) if new_epoch else -1
        return next(p.at_s for p in self.published if p.at_s >= at_s and p.epoch > before) - at_s

    def fps(self, begin_s: float, end_s: float) -> float:
        return sum(begin_s <= p.at_s < end_s for p in self.published) / (end_s - begin_s)

    def p99_age_s(self, begin_s: float, end_s: float) -> float:
        ages = [p.age_s for p in self.published if begin_s <= p.at_s < end_s]
        return float(np.percentile(ages, 99))

    def stop(self) -> None:
        self._stream.obey(Drain("enough"))
        self._threads[0].join(15)
        self._over.set()
        assert not self._threads[0].is_alive()
