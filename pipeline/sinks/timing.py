"""`VideoTimeline`: from the times of pictures to those of a video."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.sinks.mp4 import TIMESCALE

KEY_TICKS = TIMESCALE
"""A key picture at least every second of the stream's time."""


@dataclass(slots=True)
class VideoTimeline:
    """Gives every picture its time in the video: ticks that only grow, from 0.

    Differences of `pts_s` are kept exactly. At a new epoch, and where times go back, the video
    goes on one frame interval after the last picture.
    """

    interval: int
    """Ticks from one picture to the next, as last seen."""
    last: int = -1
    """Ticks of the last picture; -1 before the first."""
    epoch: int = 0
    last_pts_s: float = 0.0
    origin_s: float = 0.0
    """The `pts_s` that has tick 0 in this epoch."""
    last_key: int = 0

    @property
    def end(self) -> int:
        """Ticks at which the last picture ends, as far as is known."""
        return self.last + self.interval

    def place(self, epoch: int, pts_s: float) -> tuple[int, bool]:
        """Ticks of the next picture, and whether it has to be a key picture."""
        if self.last < 0:
            ticks = 0
            self.origin_s = pts_s
        elif epoch != self.epoch or pts_s < self.last_pts_s:
            ticks = self.last + self.interval
            self.origin_s = pts_s - ticks / TIMESCALE
        else:
            ticks = max(round((pts_s - self.origin_s) * TIMESCALE), self.last + 1)
            self.interval = ticks - self.last
        # The next picture is expected one interval later and may be too late to be the key.
        key = self.last < 0 or ticks + self.interval - self.last_key > KEY_TICKS
        if key:
            self.last_key = ticks
        self.last, self.epoch, self.last_pts_s = ticks, epoch, pts_s
        return ticks, key
