"""What malloc keeps and nobody uses is given back now and then."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from pipeline.heap import TRIM_EVERY_S, Trimming, settle


class Ring:
    """An object that only a garbage collection can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_there_was_before_is_not_looked_at_and_what_comes_is(thawed: None) -> None:
    before = Ring()
    settle()
    after = Ring()
    seen = [one for one in gc.get_objects() if isinstance(one, Ring)]
    assert seen == [after]
    assert gc.get_freeze_count() > 10 * len(gc.get_objects())
    gone = weakref.ref(before), weakref.ref(after)
    del before, after, seen
    gc.collect()
    assert (gone[0]() is None, gone[1]() is None) == (False, True)
    gc.unfreeze()
    gc.collect()
    assert gone[0]() is None


def test_it_is_given_back_when_it_is_due_and_not_before() -> None:
    hand = [0.0]
    trim = Trimming(lambda: hand[0])
    done = []
    for hand[0] in range(0, 61, 5):
        done += [hand[0]] * trim()
    assert TRIM_EVERY_S == 15.0
    assert done == [15, 30, 45, 60]
