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

from workers.members import Load, Member
from workers.stream import Pool

MOST = 16
"""More would hardly spread the load better: the least loaded of a few random ones is good."""
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it lie evenly in a circle, however many there are."""

NO_BOUNDS: Mapping[str, float] = {}

Neighbour: TypeAlias = tuple[Member, Load, Any]
"""A segment worker, how busy it is, and how to reach it."""


@dataclass
class Neighbours:
    """Chooses among the segment workers there are."""

    most: int = MOST
    _places: Mapping[Member, Neighbour] = field(default_factory=dict)
    _rings: dict[int, list[tuple[float, Member]]] = field(default_factory=dict)
    """Of those that take frames, by the number of their model: a stream needs some of its own."""
    _all: Pool = field(default_factory=lambda: Pool({}, {}))

    def set(
        self,
        places: Collection[Neighbour],
        *,
        model: int = 0,
        room: Mapping[str, float] = NO_BOUNDS,
    ) -> None:
        """Say who is there; a load may say that a worker is leaving.

        Args:
            places: of all of them.
            model: the number of the one with which streams begin.
            room: bytes that each stream worker may have under way, by machine.
        """
        found = {place[0]: place for place in places}
        if found.keys() != self._places.keys() or self._ring_is_old(found):
            takers = sorted((_stands_at(m), m) for m, load, _ in places if not load.leaving)
            self._rings = {number: [] for number in sorted({m.model for _, m in takers})}
            for stands_at, member in takers:
                self._rings[member.model].append((stands_at, member))
        self._places = found
        self._all = _pool(places, model, room)

    def of(self, number: int, owed: Collection[Member] = ()) -> Pool:
        """Those of one stream worker.

        Args:
            number: of its first stream, from 0.
            owed: segment workers that owe it an answer: as long as they live it is told of them,
                as leaving where they are its neighbours no more.
        """
        if all(len(ring) <= self.most for ring in self._rings.values()):
            return self._all
        near: set[Member] = set()
        for ring in self._rings.values():
            at = bisect_left(ring, (number * GOLDEN % 1.0,))
            near.update(member for _, member in (ring[at:] + ring[:at])[: self.most])
        others = [self._places[m] for m in owed if m not in near and m in self._places]
        leaving = [(m, replace(load, leaving=True), address) for m, load, address in others]
        there = [*(self._places[member] for member in near), *leaving]
        return _pool(there, self._all.model, self._all.room)

    def _ring_is_old(self, found: Mapping[Member, Neighbour]) -> bool:
        takers = sum(map(len, self._rings.values()))
        return takers != sum(not load.leaving for _, load, _ in found.values())


def _stands_at(member: Member) -> float:
    """Its place on the ring, in [0, 1), the same through all its lives."""
    return crc32(member.worker_id.encode()) / 2**32


def _pool(places: Collection[Neighbour], model: int, room: Mapping[str, float]) -> Pool:
    return Pool(
        {member: load for member, load, _ in places},
        {member: address for member, _, address in places},
        model,
        room,
    )
