"""Which packets of a live stream need no decoding, because their picture would be dropped.

Where every picture stands by itself (MJPEG) any may be left out. Elsewhere pictures are built on
those before them, and all that can be left out is what lies between two key pictures: when key
pictures alone are as many as are asked for. Pictures nothing is built on (B pictures) are decoded:
the decoder would hold the others back for them, and what comes would be older.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field

from pipeline.clock import Clock
from pipeline.sources.timeline import MAX_STEP_S
from pipeline.stream.sampling import Sampling

_SEEN = 3
"""Distances of key pictures that have to suffice before the rest is left undecoded."""
_JITTER = 1.05
_MISSED = 2.5
"""A key picture that is so many distances late is not coming."""


@dataclass(slots=True)
class Undecoded:
    """What was left out on purpose; written by one thread, read by others."""

    pictures: Counter[str] = field(default_factory=Counter)
    """Since the last picture handed on, by cause; also by the connection before."""
    last_s: float = -math.inf
    """When the last one came: a stream that sends these is alive."""

    def take(self) -> dict[str, int]:
        """Those before the picture that is handed on now."""
        taken = dict(self.pictures)
        self.pictures.clear()
        return taken


class Skipping:
    """Says of each packet of one connection whether it is left undecoded.

    What is let through passes the same rule once more above, so that nothing here has to know all
    that begins an epoch. A first picture whose time is not known yet moves the choice by one.

    Args:
        stride: take every k-th picture.
        max_fps: and of those at most so many a second; None: all.
        intra_only: every picture stands by itself.
        undecoded: counted here.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        stride: int,
        max_fps: float | None,
        intra_only: bool,
        undecoded: Undecoded,
        clock: Clock,
    ) -> None:
        self._idle = stride == 1 and max_fps is None
        self._intra_only = intra_only
        self._sampling = Sampling(stride=stride, max_fps=max_fps)
        self._keys = _KeyPictures(stride, max_fps)
        self._undecoded = undecoded
        self._clock = clock
        self._number = 0
        self._last_s: float | None = None

    def skips(self, pts_s: float | None, *, pts: int | None, key: bool) -> bool:
        """Whether the next packet is left out; one without a time never is.

        Args:
            pts_s: its time in seconds.
            pts: its time stamp, by which `shown` names its picture.
            key: it is a key picture.
        """
        if self._idle or pts_s is None:
            return False
        last_s, self._last_s = self._last_s, pts_s
        if last_s is not None and not last_s <= pts_s <= last_s + MAX_STEP_S:
            self._sampling.reset()  # an epoch begins there
            self._keys.forget()
        self._number += 1
        if self._intra_only:
            cause = self._sampling.cause_to_drop(pts_s, self._number)
            alive = True
        else:
            cause = self._keys.cause_to_drop(pts_s, self._number, pts=pts, key=key)
            alive = not self._keys.missed(pts_s)
        if cause is None:
            return False
        self._undecoded.pictures[cause] += 1
        if alive:
            self._undecoded.last_s = self._clock()
        return True

    def shown(self, pts: int | None) -> None:
        """The picture of this time stamp was good."""
        self._keys.shown = pts


class _KeyPictures:
    """Whether key pictures are all that is needed of a stream whose pictures come in order.

    A stride must lead from key picture to key picture, so that the very same ones are taken. For
    `max_fps` they must come as often: its rate is kept, and instead of the picture that is due the
    next key picture is taken. A key picture has to come out of the decoder before the next packet
    goes in, else one that reorders pictures would hold it back until the next.
    """

    def __init__(self, stride: int, max_fps: float | None) -> None:
        self._stride = stride
        self._period_s = math.inf if max_fps is None else 1.0 / max_fps
        self.shown: int | None = None
        """Time stamp of the last good picture."""
        self._distances: deque[tuple[int, float]] = deque(maxlen=_SEEN)
        self._last_key: tuple[int, float] | None = None
        self._key_pts: int | None = None
        self._key_in_decoder = False
        self._alone = False

    def forget(self) -> None:
        """What was seen says nothing about what comes: decode everything from the next key on.

        Not before, where pictures are missing that the next ones are built on.
        """
        self._distances.clear()
        self._last_key = None

    def cause_to_drop(self, pts_s: float, number: int, *, pts: int | None, key: bool) -> str | None:
        """Why the next packet is left out, None when it is decoded."""
        if key:
            if self._last_key is not None:
                before, before_s = self._last_key
                self._distances.append((number - before, pts_s - before_s))
            self._last_key, self._key_pts, self._key_in_decoder = (number, pts_s), pts, True
            self._alone = self._enough()
            return None
        first_after, self._key_in_decoder = self._key_in_decoder, False
        if first_after and self._alone and not self._came():
            self.forget()
            self._alone = False  # nothing is missing yet
        if not self._alone:
            return None
        return "max_fps" if self._stride == 1 else "stride"

    def missed(self, pts_s: float) -> bool:
        """Whether the next key picture should have come long ago, as far as that is known."""
        if self._last_key is None or not self._distances:
            return True
        longest_s = max(seconds for _, seconds in self._distances)
        return pts_s - self._last_key[1] > _MISSED * longest_s

    def _came(self) -> bool:
        """Whether the decoder has given the last key picture, and a good one."""
        return self._key_pts is not None and self.shown == self._key_pts

    def _enough(self) -> bool:
        if len(self._distances) < _SEEN:
            return False
        counts = {count for count, _ in self._distances}
        if self._stride > 1:
            return len(counts) == 1 and self._stride % counts.pop() == 0
        return max(seconds for _, seconds in self._distances) <= self._period_s * _JITTER
