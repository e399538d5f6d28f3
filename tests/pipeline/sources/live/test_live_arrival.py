"""Pictures get the time of the sender where it has one, and a sensible one where it has none."""

from __future__ import annotations

import struct
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.sources.live.arrival import Arrivals, Arrived
from pipeline.testing import ManualClock

BASE = Fraction(1, 1000)


class Packet(SimpleNamespace):
    """As much of a packet as is looked at."""

    time_base = BASE

    def has_sidedata(self, name: str) -> bool:
        return name == "prft" and self.sent_at_s is not None

    def get_sidedata(self, name: str) -> bytes:
        return struct.pack("=qi", int(self.sent_at_s * 1e6), 24)


class Line:
    """A connection with clocks that stand still unless told."""

    def __init__(self, *, timeless: bool = False, rate: int | None = 10) -> None:
        self.clock, self.wall = ManualClock(50.0), ManualClock(1_700_000_000.0)
        fraction = None if rate is None else Fraction(rate)
        stream: Any = SimpleNamespace(guessed_rate=fraction, average_rate=None, time_base=BASE)
        self.arrivals = Arrivals(stream, timeless=timeless, clock=self.clock, wall=self.wall)

    def send(self, pts: int | None, *, sent_at_s: float | None = None) -> list[Arrived]:
        self.clock.advance(1.0)
        self.wall.advance(1.0)
        packet: Any = Packet(pts=pts, sent_at_s=sent_at_s)
        self.arrivals.note(packet)
        frame: Any = SimpleNamespace(pts=pts)
        return list(self.arrivals.place(frame))


def times(pictures: list[Arrived]) -> list[float | None]:
    return [picture.pts_s for picture in pictures]


def test_time_stamps_are_taken_as_they_are_and_capture_is_the_arrival() -> None:
    line = Line()
    (first,), (second,) = line.send(7000), line.send(7100)
    assert times([first, second]) == [7.0, 7.1]
    assert [first.captured_at_s, second.captured_at_s] == [1_700_000_001.0, 1_700_000_002.0]
    assert {first.clock, second.clock} == {"arrival"}


def test_the_senders_clock_counts_once_it_has_spoken() -> None:
    line = Line()
    assert line.send(0)[0].clock == "arrival"
    (told,) = line.send(100, sent_at_s=1_600_000_000.5)
    (later,) = line.send(200)
    assert (told.clock, told.captured_at_s) == ("sender", 1_600_000_000.5)
    assert later.captured_at_s == pytest.approx(1_600_000_000.6, abs=1e-6)


def test_a_sender_whose_clock_was_never_set_is_not_believed() -> None:
    assert Line().send(0, sent_at_s=86_400.0)[0].clock == "arrival"


def test_first_pictures_without_a_time_are_placed_before_the_first_that_has_one() -> None:
    line = Line()
    assert line.send(None) == []
    assert line.send(None) == []
    pictures = line.send(500)
    assert times(pictures) == pytest.approx([0.3, 0.4, 0.5])
    assert [p.captured_at_s - 1_700_000_000 for p in pictures] == [1.0, 2.0, 3.0]


def test_a_later_picture_without_a_time_is_left_to_the_timeline() -> None:
    line = Line()
    line.send(0)
    assert times(line.send(None)) == [None]


def test_a_stream_that_never_has_times_goes_by_arrival() -> None:
    line = Line()
    given = [line.send(None) for _ in range(5)]
    assert [len(pictures) for pictures in given] == [0, 0, 0, 4, 1]
    assert times([picture for pictures in given for picture in pictures]) == [
        51.0,
        52.0,
        53.0,
        54.0,
        55.0,
    ]


def test_times_that_are_made_up_are_replaced_by_the_arrival() -> None:
    line = Line(timeless=True)
    assert times([*line.send(0), *line.send(40), *line.send(80)]) == [51.0, 52.0, 53.0]


def test_packets_whose_picture_never_comes_are_forgotten() -> None:
    line = Line()
    for pts in range(1000):
        packet: Any = Packet(pts=pts, sent_at_s=None)
        line.arrivals.note(packet)
    assert len(line.arrivals._came) <= 256
