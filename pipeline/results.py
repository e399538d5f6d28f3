"""`FrameResult`: what is known about one frame, and what leaves the program.

The JSON forms are in `pipeline.formats.jsonl`; here are only the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.picture import Picture


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
    picture: Picture | None = None
    """Its pixels, for users of the Python API; no record holds them."""

    @property
    def key(self) -> str:
        """Idempotency key of all that is published about this frame."""
        return f"{self.run}:{self.source_id}:{self.epoch}:{self.index}"

    @property
    def image(self) -> NDArray[np.uint8] | None:
        """The picture (H, W, 3) BGR, read-only; None where the result came without it."""
        return None if self.picture is None else self.picture.image

    def plot(self) -> NDArray[np.uint8]:
        """The picture with masks, contours, labels and ids drawn on it, (H, W, 3) BGR, a copy.

        Raises:
            ValueError: the result came without its picture.
        """
        if self.picture is None:
            raise ValueError("this result came without its picture; plot() needs one from track()")
        return self.picture.showing(self.instances, self.labels).drawn()

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
