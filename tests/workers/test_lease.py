"""Stream workers of a machine that nobody asks after end."""

import secrets
import threading
from collections.abc import Iterator

import pytest

from pipeline.testing import ManualClock
from workers.lease import Lease, hold

NAME = f"test-{secrets.token_hex(8)}"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lease(clock: ManualClock) -> Iterator[Lease]:
    made = Lease(NAME, lasts_s=5.0, clock=clock)
    yield made
    made.close()


def test_a_worker_ends_once_its_lease_is_not_renewed(lease: Lease, clock: ManualClock) -> None:
    over = threading.Event()
    hold(NAME, over.set)
    clock.advance(4.9)
    lease.renew()
    clock.advance(4.9)
    assert not over.wait(0.3)
    clock.advance(0.2)
    assert over.wait(10)


def test_after_a_lease_was_over_another_worker_may_live_by_it(
    lease: Lease, clock: ManualClock
) -> None:
    first, second = threading.Event(), threading.Event()
    hold(NAME, first.set)
    clock.advance(5.1)
    assert first.wait(10)
    lease.renew()
    hold(NAME, second.set)
    assert not second.wait(0.3)


def test_a_worker_ends_with_its_scout(lease: Lease) -> None:
    over = threading.Event()
    hold(NAME, over.set)
    lease.close()
    assert over.wait(10)


def test_a_worker_where_nobody_gives_a_lease_does_not_start() -> None:
    with pytest.raises(ConnectionRefusedError):
        hold(NAME)
