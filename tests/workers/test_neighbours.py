"""Which segment workers a stream worker is told of."""

from collections import Counter

import pytest

from workers.members import Load, Member
from workers.neighbours import MOST, Neighbour, Neighbours


def places(count: int, *, leaving: tuple[int, ...] = ()) -> list[Neighbour]:
    return [
        (Member(f"segment-{n}", 0), Load(n, leaving=n in leaving), f"at {n}") for n in range(count)
    ]


def told(count: int, **options: object) -> Neighbours:
    made = Neighbours()
    made.set(places(count, **options))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("count", [0, 1, MOST])
def test_of_a_few_everybody_is_told_of_all(count: int) -> None:
    pool = told(count).of(7)
    assert pool.loads == {member: load for member, load, _ in places(count)}
    assert pool.addresses == {member: address for member, _, address in places(count)}


def test_of_hundreds_everybody_is_told_of_a_few_and_every_time_of_the_same() -> None:
    made = told(500)
    before = [made.of(number) for number in range(100)]
    made.set(places(500))
    assert [made.of(number) for number in range(100)] == before
    assert {len(pool.loads) for pool in before} == {MOST}


def test_every_worker_is_known_to_about_as_many() -> None:
    made = told(500)
    known = Counter(member for place in range(500) for member in made.of(20 * place).loads)
    assert len(known) == 500
    assert min(known.values()) >= MOST / 2
    assert max(known.values()) <= 2 * MOST


def test_a_worker_that_goes_concerns_only_those_that_knew_it() -> None:
    before, after = told(500), Neighbours()
    gone = Member("segment-7", 0)
    after.set([place for place in places(500) if place[0] != gone])
    for number in range(200):
        was, now = before.of(number).loads.keys(), after.of(number).loads.keys()
        assert len(was - now) == (gone in was)


def test_one_that_takes_the_place_of_another_has_its_neighbours() -> None:
    made = told(500)
    before = made.of(3).loads
    some = next(iter(before))
    after = [p if p[0] != some else (Member(some.worker_id, 1), p[1], p[2]) for p in places(500)]
    made.set(after)
    assert {member.worker_id for member in made.of(3).loads} == {m.worker_id for m in before}


def test_who_owes_an_answer_is_told_of_until_it_has_come() -> None:
    made = told(500)
    far = next(m for m, _, _ in places(500) if m not in made.of(0).loads)
    pool = made.of(0, [far])
    assert pool.loads[far].leaving
    assert far not in pool.takers
    assert len(pool.takers) == MOST
    assert Member("segment-7", 3) not in made.of(0, [Member("segment-7", 3)]).loads  # it is dead


def test_who_is_leaving_is_nobodys_neighbour() -> None:
    made = told(30, leaving=tuple(range(10)))
    leavers = {Member(f"segment-{n}", 0) for n in range(10)}
    assert not leavers & {m for number in range(100) for m in made.of(number).loads}
    few = told(3, leaving=(1,)).of(0)
    assert few.takers == {Member("segment-0", 0), Member("segment-2", 0)}
    assert few.loads.keys() == {*few.takers, Member("segment-1", 0)}


def test_while_a_model_follows_another_everybody_has_neighbours_of_both() -> None:
    both = [
        *places(30),
        *((Member(f"segment-{n}", 0, model=1), Load(), f"at {n}") for n in range(30, 60)),
    ]
    made = Neighbours()
    made.set(both, model=1)
    pool = made.of(7)
    assert Counter(member.model for member in pool.loads) == {0: MOST, 1: MOST}
    assert pool.model == 1
