"""Which segment workers a stream worker is told of.

All of them, as long as they are few. Of hundreds it gets its own dozen or so: then what it has to
decide, and what it has to be told, does not grow with the fleet. Workers stand on a ring, each at a
place of its own; a stream worker looks along the ring from where it stands itself, so that a worker
that comes or goes concerns only those that stand before it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from zlib import crc32

from workers.dispatch import Load, Member
from workers.stream import Pool

MOST = 16
"""More would hardly spread the load better: the least loaded of a few random ones is good."""
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it lie evenly in a circle, however many there are."""

Neighbour: TypeAlias = tuple[Member, Load, Any]
"""A segment worker, how busy it is, and how to reach it."""


@dataclass
class Neighbours:
    """Chooses among the segment workers there are."""

    most: int = MOST
    _places: Mapping[Member, Neighbour] = field(default_factory=dict)
    _ring: list[tuple[float, Member]] = field(default_factory=list)
    _all: Pool = field(default_factory=lambda: Pool({}, {}))

    def set(self, places: Collection[Neighbour]) -> None:
        """Say who is there; a load may say that a worker is leaving."""
        found = {place[0]: place for place in places}
        if found.keys() != self._places.keys() or self._ring_is_old(found):
            takers = [member for member, load, _ in places if not load.leaving]
            self._ring = sorted((_stands_at(member), member) for member in takers)
        self._places = found
        self._all = _pool(places)

    def of(self, number: int, owed: Collection[Member] = ()) -> Pool:
        """Those of one stream worker.

        Args:
            number: of its first stream, from 0.
            owed: segment workers that owe it an answer: as long as they live it is told of them,
                as leaving where they are its neighbours no more.
        """
        if len(self._ring) <= self.most:
            return self._all
        at = bisect_left(self._ring, (number * GOLDEN % 1.0,))
        around = (self._ring[at:] + self._ring[:at])[: self.most]
        near = {member for _, member in around}
        others = [self._places[m] for m in owed if m not in near and m in self._places]
        leaving = [(m, replace(load, leaving=True), address) for m, load, address in others]
        return _pool([*(self._places[member] for member in near), *leaving])

    def _ring_is_old(self, found: Mapping[Member, Neighbour]) -> bool:
        return len(self._ring) != sum(not load.leaving for _, load, _ in found.values())


def _stands_at(member: Member) -> float:
    """Its place on the ring, in [0, 1), the same through all its lives."""
    return crc32(member.worker_id.encode()) / 2**32


def _pool(places: Collection[Neighbour]) -> Pool:
    return Pool(
        {member: load for member, load, _ in places},
        {member: address for member, _, address in places},
    )
