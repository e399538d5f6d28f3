"""Where a picture lies in time: epochs, and a clock that never goes back within one.

Pure and shared by files and cameras. A break of the time line is a step backwards or a step
forward that is too long to be a pause; a repeated time stamp is not a break.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_STEP_S = 5.0
"""A longer step forward is a break of the time line."""
MAX_STEP_INTERVALS = 10
"""Unless pictures are announced that far apart: time-lapse has steps of minutes."""
_TICK_S = 1e-6


@dataclass(frozen=True, slots=True)
class Moment:
    """The place of one picture."""

    epoch: int
    pts_s: float
    """Seconds on the source's own clock."""
    elapsed_s: float
    """Seconds since the first picture, breaks closed up to one picture interval."""


class Timeline:
    """Gives each picture of one stream its epoch and its time, in the order of presentation.

    Args:
        interval_s: the usual distance of two pictures; stands in where a time stamp is missing.
        epoch: the epoch of the first picture.
        max_step_s: a longer step forward starts a new epoch.
    """

    def __init__(
        self, *, interval_s: float, epoch: int = 0, max_step_s: float = MAX_STEP_S
    ) -> None:
        self.epoch = epoch
        self.breaks = 0
        """Breaks of the time line so far; changes of picture size and restarts are not counted."""
        self._interval_s = interval_s
        self._max_step_s = max(max_step_s, MAX_STEP_INTERVALS * interval_s)
        self._last_pts_s: float | None = None
        self._last_stamp_s: float | None = None
        self._size: tuple[int, int] | None = None
        self._restarted = False
        self._epoch_pts_s = 0.0
        self._epoch_elapsed_s = 0.0
        self._elapsed_s = 0.0

    def restart(self, *, interval_s: float) -> None:
        """The source was opened again: the next picture starts an epoch."""
        self._restarted = self._last_pts_s is not None
        self._interval_s = interval_s

    def place(self, pts_s: float | None, size: tuple[int, int]) -> Moment:
        """The moment of the next picture.

        Args:
            pts_s: its time stamp in seconds, None where the source gives none.
            size: (height, width) as shown.
        """
        last = self._last_pts_s
        if last is None:
            self._last_stamp_s = pts_s
            moment = self._start(0.0 if pts_s is None else pts_s, elapsed_s=0.0)
        else:
            if pts_s is None:
                pts_s = last + self._interval_s
            elif pts_s == self._last_stamp_s:  # repeated: the same time, a hair later
                pts_s = last + _TICK_S
            else:
                self._last_stamp_s = pts_s
            broken = not last < pts_s <= last + self._max_step_s
            self.breaks += broken and not self._restarted
            if broken or self._restarted or size != self._size:
                self.epoch += 1
                step_s = self._interval_s if broken or self._restarted else pts_s - last
                moment = self._start(pts_s, elapsed_s=self._elapsed_s + step_s)
            else:
                elapsed_s = self._epoch_elapsed_s + (pts_s - self._epoch_pts_s)
                moment = Moment(self.epoch, pts_s, elapsed_s)
        self._size, self._restarted = size, False
        self._last_pts_s, self._elapsed_s = moment.pts_s, moment.elapsed_s
        return moment

    def _start(self, pts_s: float, *, elapsed_s: float) -> Moment:
        self._epoch_pts_s, self._epoch_elapsed_s = pts_s, elapsed_s
        return Moment(self.epoch, pts_s, elapsed_s)
