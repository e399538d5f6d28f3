"""A small one of the fleets that are played, with the real deciding in it."""

import pytest

from benchmarks.fleet import FEWEST, LEAST_SERVED, Went, play
from workers.neighbours import MOST


@pytest.fixture(scope="module")
def went() -> Went:
    return play(600, 30, seconds=20)


def test_every_camera_is_served(went: Went) -> None:
    assert went.fewest >= FEWEST
    assert went.wait_s <= 2.0


def test_frames_go_on_being_served_while_a_tenth_of_the_workers_is_gone(went: Went) -> None:
    assert went.served >= LEAST_SERVED


def test_a_stream_worker_is_told_of_no_more_segment_workers_than_it_needs(went: Went) -> None:
    assert went.told <= MOST + 1
