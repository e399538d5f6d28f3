"""`FrameResult`: what is known about one frame, and what leaves the program.

The JSON forms are in `pipeline.formats.jsonl`; here are only the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame
from pipeline.instances import Instances

Draw: TypeAlias = Callable[[NDArray[np.uint8], Instances, Mapping[int, str]], NDArray[np.uint8]]
"""Picture (H, W, 3) BGR, instances, names by class id -> the annotated picture."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """The published instances of one frame."""

    run: str
    source_id: str
    epoch: int
    index: int
    pts_s: float
    captured_at_s: float | None
    clock: str | None
    size: tuple[int, int]
    """(height, width) of the source picture."""
    model: str
    instances: Instances
    labels: Mapping[int, str]
    """Names by class id; may hold more classes than occur here."""
    file: str | None = None
    """Name of the picture file the frame is from, within its folder or glob; None for videos."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds per stage of this frame; never serialised."""
    image: NDArray[np.uint8] | None = None
    """The picture (H, W, 3) BGR for users of the Python API; never serialised."""
    draw: Draw | None = None
    """How `plot()` draws; set by the runner."""

    @property
    def key(self) -> str:
        """Idempotency key of all that is published about this frame."""
        return f"{self.run}:{self.source_id}:{self.epoch}:{self.index}"

    def plot(self) -> NDArray[np.uint8]:
        """The picture with masks, contours, labels and ids drawn on it, (H, W, 3) BGR.

        Raises:
            ValueError: the result came without its picture.
        """
        if self.image is None or self.draw is None:
            raise ValueError("this result came without its picture; plot() needs one from track()")
        return self.draw(self.image, self.instances, self.labels)

    @staticmethod
    def of(
        frame: Frame,
        instances: Instances,
        *,
        run: str,
        model: str,
        labels: Mapping[int, str],
        **more: Any,
    ) -> FrameResult:
        """The result of `frame`, its metadata copied."""
        return FrameResult(
            run=run,
            source_id=frame.source_id,
            epoch=frame.epoch,
            index=frame.index,
            pts_s=frame.pts_s,
            captured_at_s=frame.captured_at_s,
            clock=frame.clock,
            size=frame.size,
            file=frame.file,
            model=model,
            instances=instances,
            labels=labels,
            **more,
        )
