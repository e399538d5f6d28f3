"""When pictures were taken and when they came: whose clock says so, and what to do without."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import av
from av.video.stream import VideoStream

from pipeline.clock import Clock

_PENDING = 256
"""Packets whose picture has not come out of the decoder; more are forgotten."""
_HELD = 3
"""Pictures that may wait for the first time stamp; then there is none to come."""
_YEAR_2000_S = 946_684_800


@dataclass(frozen=True, slots=True, eq=False)
class Arrived:
    """One decoded picture and when it came."""

    frame: av.VideoFrame
    pts_s: float | None
    """Time stamp in seconds on the sender's clock; None where it sends none."""
    interval_s: float
    """The usual distance of two pictures."""
    captured_at_s: float
    """Unix time, of capture if `clock` is the sender's, else of arrival."""
    clock: Literal["sender", "arrival"]
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Pictures before this one that were not decoded on purpose, by cause."""
    decode_s: float = 0.0
    """Seconds the decoder was at work since the picture before."""


class Arrivals:
    """Gives the pictures of one connection their times.

    Args:
        stream: they are of.
        timeless: its time stamps are made up; the arrival counts instead.
        clock: seconds, monotonic.
        wall: Unix seconds.
    """

    def __init__(
        self,
        stream: VideoStream,
        *,
        timeless: bool,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        rate = stream.guessed_rate or stream.average_rate
        self.last_pts_s: float | None = None
        self._interval_s = float(1 / rate) if rate else 0.04
        self._base = stream.time_base
        self._timeless = timeless
        self._clock, self._wall = clock, wall
        self._came: dict[int | None, tuple[float, float]] = {}
        self._sender_offset_s: float | None = None
        self._held: list[tuple[Arrived, float]] = []

    def note(self, packet: av.Packet[VideoStream]) -> None:
        """A packet has come: when, and what the sender's clock said."""
        if len(self._came) >= _PENDING:
            self._came.clear()
        self._came[packet.pts] = (self._wall(), self._clock())
        sent_at_s = _sender_time(packet)
        if sent_at_s is not None and packet.pts is not None and packet.time_base is not None:
            self._sender_offset_s = sent_at_s - float(packet.pts * packet.time_base)

    def time_of(self, packet: av.Packet[VideoStream]) -> float | None:
        """The time `place` will give its picture, for a codec that keeps their order.

        None: that is not known yet. To be asked after `note`.
        """
        if self._timeless:
            return self._came[packet.pts][1]
        return None if self.last_pts_s is None else self._time_of(packet)

    def place(self, frame: av.VideoFrame) -> Iterator[Arrived]:
        """The picture with its times; it may be held back until the first time stamp is known.

        RTP gives the first picture of a connection none.
        """
        wall_s, clock_s = self._came.pop(frame.pts, (self._wall(), self._clock()))
        pts_s = clock_s if self._timeless else self._time_of(frame)
        arrived = Arrived(frame, pts_s, self._interval_s, wall_s, "arrival")
        if pts_s is None and self.last_pts_s is None:
            self._held.append((arrived, clock_s))
            if len(self._held) <= _HELD:
                return
            self._timeless = True
            held, self._held = self._held, []
            for arrived, clock_s in held:
                yield replace(arrived, pts_s=clock_s)
            self.last_pts_s = clock_s
            return
        if pts_s is not None:
            yield from self._release(pts_s)
            self.last_pts_s = pts_s
            if self._sender_offset_s is not None and not self._timeless:
                sent_s = pts_s + self._sender_offset_s
                arrived = replace(arrived, captured_at_s=sent_s, clock="sender")
        yield arrived

    def _release(self, pts_s: float) -> Iterator[Arrived]:
        """Those that waited, placed before the first that has a time."""
        count = len(self._held)
        for i, (arrived, _) in enumerate(self._held):
            yield replace(arrived, pts_s=pts_s - (count - i) * self._interval_s)
        self._held.clear()

    def _time_of(self, frame: av.VideoFrame | av.Packet[VideoStream]) -> float | None:
        if frame.pts is None or self._base is None:
            return None
        return frame.pts * self._base.numerator / self._base.denominator


def _sender_time(packet: av.Packet[VideoStream]) -> float | None:
    """Unix time of capture by the sender's clock, from RTCP sender reports; None without."""
    if not hasattr(packet, "has_sidedata") or not packet.has_sidedata("prft"):
        return None
    (microseconds,) = struct.unpack_from("=q", bytes(packet.get_sidedata("prft")))
    seconds = microseconds / 1e6
    return float(seconds) if seconds > _YEAR_2000_S else None  # a camera that was never set
