"""Which pictures of a stream are taken at all: every k-th one, at most so many a second.

Chosen by time stamps alone, so that a file gives the same frames in every run, and a camera does
not give others because a picture was lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_USUAL_OF = 9
"""Recent distances of pictures; the usual one is their median."""
_EARLY = 0.25
"""Part of a period or interval by which time stamps may jitter."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """How far the choice has come, after a picture that was taken; goes into checkpoints."""

    due_s: float | None = None
    """The earliest time `max_fps` takes next; None without it."""
    late: int = 0
    """Places the picture stood behind the grid of the stride."""
    steps_s: tuple[float, ...] = ()
    """Recent distances of pictures; empty without a stride."""


class Thinning:
    """Keep at most `max_fps` frames a second, chosen by time stamps alone.

    A frame up to a quarter of a period early is taken, so that jitter in the time stamps does not
    cost every other frame of a source as fast as the limit; over time the rate stays exact.
    """

    def __init__(self, max_fps: float | None, *, due_s: float | None = None) -> None:
        self._period_s = None if max_fps is None else 1.0 / max_fps
        self.due_s = due_s

    def keep(self, pts_s: float) -> bool:
        """Whether the next frame of this epoch is taken."""
        if self._period_s is None:
            return True
        slack_s = self._period_s * _EARLY
        if self.due_s is not None and pts_s < self.due_s - slack_s:
            return False
        due_s = pts_s if self.due_s is None else max(self.due_s, pts_s - slack_s)
        self.due_s = due_s + self._period_s
        return True

    def reset(self) -> None:
        """A new epoch: its first frame is taken."""
        self.due_s = None


class Stride:
    """Keep every k-th place of the grid of picture intervals that an epoch's first picture begins.

    A picture that was lost has its place: where one is due and missing, the next that comes is
    taken in its stead, and the one after that is on the grid again. Pictures are never counted as
    nearer than one place, so that without losses it is every k-th, however regular they are.

    Args:
        every: the k.
        last: time and index of the picture `sampled` is of; None begins anew.
        sampled: where an earlier run stood.
    """

    def __init__(
        self,
        every: int,
        *,
        last: tuple[float, int] | None = None,
        sampled: Sampled = Sampled(),
    ) -> None:
        self._every = every
        self._last = last
        self._place = sampled.late
        self._steps_s = deque(sampled.steps_s, maxlen=_USUAL_OF)

    @property
    def late(self) -> int:
        """Places the last picture stood behind the grid."""
        return self._place

    @property
    def steps_s(self) -> tuple[float, ...]:
        """Recent distances of pictures in seconds."""
        return tuple(self._steps_s)

    def keep(self, pts_s: float, index: int) -> bool:
        """Whether the next frame of this epoch is taken.

        Args:
            pts_s: its time.
            index: its index; what it leaps was there and is known to be left out.
        """
        if self._every == 1:
            return True
        if self._last is None:
            self._place = self._every
        else:
            self._place += self._places_since(*self._last, pts_s, index)
        self._last = (pts_s, index)
        if self._place < self._every:
            return False
        self._place %= self._every
        return True

    def reset(self) -> None:
        """A new epoch: its first frame is taken."""
        self._last = None
        self._steps_s.clear()

    def _places_since(self, before_s: float, before: int, pts_s: float, index: int) -> int:
        known = max(1, index - before)
        passed_s = pts_s - before_s
        self._steps_s.append(passed_s / known)
        usual_s = sorted(self._steps_s)[(len(self._steps_s) - 1) // 2]
        return max(known, int(passed_s / usual_s + _EARLY)) if usual_s > 0 else known


class Sampling:
    """Stride first, then `max_fps`.

    Args:
        stride: take every k-th picture.
        max_fps: and of those at most so many a second; None: all.
        last: time and index of the picture `sampled` is of; None begins anew.
        sampled: where an earlier run stood.
    """

    def __init__(
        self,
        *,
        stride: int = 1,
        max_fps: float | None = None,
        last: tuple[float, int] | None = None,
        sampled: Sampled = Sampled(),
    ) -> None:
        self._stride = Stride(stride, last=last, sampled=sampled)
        self._thinning = Thinning(max_fps, due_s=sampled.due_s)

    @property
    def sampled(self) -> Sampled:
        """How far it has come, to be asked after a picture that was taken."""
        return Sampled(self._thinning.due_s, self._stride.late, self._stride.steps_s)

    def cause_to_drop(self, pts_s: float, index: int) -> str | None:
        """Why the next frame of this epoch is left out, None when it is taken."""
        if not self._stride.keep(pts_s, index):
            return "stride"
        return None if self._thinning.keep(pts_s) else "max_fps"

    def reset(self) -> None:
        """A new epoch: its first frame is taken."""
        self._stride.reset()
        self._thinning.reset()
