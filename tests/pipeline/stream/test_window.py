"""Thinning by time stamps, and who gets a place among the frames in flight."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from pipeline.accounting import StreamAccount
from pipeline.stream import StreamSettings
from pipeline.stream.capture import Captured, Mark, Thinning
from pipeline.stream.region import PolygonRegion
from pipeline.stream.window import Window
from pipeline.testing import ManualClock, make_frame, make_instances


def kept(max_fps: float | None, times: Iterable[float]) -> list[int]:
    thinning = Thinning(max_fps)
    return [i for i, pts_s in enumerate(times) if thinning.keep(pts_s)]


def test_without_a_limit_every_frame_is_taken() -> None:
    assert kept(None, [0.0, 0.0, 0.001]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("fps", "max_fps", "seconds", "count"),
    [
        pytest.param(30, 10, 10, 100, id="a third"),
        pytest.param(25, 10, 10, 100, id="two of five"),
        pytest.param(30, 20, 10, 200, id="two of three"),
        pytest.param(25, 25, 10, 250, id="as fast as the limit"),
        pytest.param(30, 29.97, 10, 300, id="just above the limit, within a frame"),
        pytest.param(5, 25, 10, 50, id="slower than the limit"),
        pytest.param(25, 0.5, 20, 10, id="every other second"),
    ],
)
def test_thinning_keeps_the_rate(fps: float, max_fps: float, seconds: int, count: int) -> None:
    assert len(kept(max_fps, [i / fps for i in range(int(seconds * fps))])) == pytest.approx(
        count, abs=1
    )


def test_jitter_costs_no_frame_of_a_source_as_fast_as_the_limit() -> None:
    jitter = np.random.default_rng(3).uniform(-0.004, 0.004, 250)
    assert len(kept(25, np.arange(250) / 25 + jitter)) == 250


def test_after_a_hole_frames_are_not_taken_in_a_rush() -> None:
    times = [0.0, *(10 + i / 50 for i in range(100))]
    assert len(kept(10, times)) == pytest.approx(1 + 20, abs=1)


def test_thinning_goes_on_from_where_it_stood() -> None:
    times = [i / 30 for i in range(90)]
    whole = kept(12, times)
    thinning = Thinning(12)
    first = [i for i in range(40) if thinning.keep(times[i])]
    again = Thinning(12, due_s=thinning.due_s)
    assert first + [i for i in range(40, 90) if again.keep(times[i])] == whole


def waiting(index: int = 0, at_s: float = 0.0, kept: int = 1) -> Captured:
    frame = make_frame(index)
    return Captured(frame, at_s, 0.0, Mark(0, index, frame.pts_s, None, kept, index + 1, 0))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def account() -> StreamAccount:
    return StreamAccount("cam")


def make_window(
    account: StreamAccount,
    clock: ManualClock,
    settings: StreamSettings,
    *,
    live: bool = True,
    tracked: bool = True,
) -> Window:
    return Window(settings, account=account, live=live, tracked=tracked, clock=clock)


def test_a_frame_older_than_the_budget_is_dropped(
    account: StreamAccount, clock: ManualClock
) -> None:
    window = make_window(account, clock, StreamSettings(max_latency_s=0.5))
    clock.advance(0.6)
    assert window.admit(waiting(at_s=0.0), newest=True) is None
    assert window.admit(waiting(at_s=0.2), newest=True) is not None
    assert account.snapshot().dropped == {"stale": 1}


def test_a_frame_that_would_be_too_old_when_segmented_is_dropped_before(
    account: StreamAccount, clock: ManualClock
) -> None:
    window = make_window(account, clock, StreamSettings(max_latency_s=0.5))
    for _ in range(50):
        window.learn(0.4)
    assert window.admit(waiting(at_s=0.0), newest=False) is not None
    clock.advance(0.2)
    assert window.admit(waiting(at_s=0.0), newest=False) is None
    assert account.snapshot().dropped == {"stale": 1}


def test_the_newest_frame_is_tried_when_nothing_is_in_flight(
    account: StreamAccount, clock: ManualClock
) -> None:
    window = make_window(account, clock, StreamSettings(max_latency_s=0.5))
    for _ in range(50):
        window.learn(9.0)
    assert window.admit(waiting(0), newest=True) is not None
    assert window.admit(waiting(1), newest=True) is None, "one is in flight and will tell"
    window.pop()
    assert window.admit(waiting(2), newest=False) is None, "a fresher one waits"


def test_an_adaptive_window_carries_fresh_frames_and_drops_old_ones(
    account: StreamAccount, clock: ManualClock
) -> None:
    window = make_window(account, clock, StreamSettings(max_latency_s=0.5, adaptive=True))
    for _ in range(50):
        window.learn(9.0)
    clock.advance(1.0)
    carried = window.admit(waiting(at_s=0.9), newest=False)
    assert carried is not None
    assert (carried.segmented, carried.landed) == (False, True)
    assert window.admit(waiting(at_s=0.4), newest=False) is None


@pytest.mark.parametrize(
    ("live", "tracked", "segmented"),
    [
        pytest.param(True, True, [True, False, False, True], id="tracked"),
        pytest.param(False, True, [True, False, False, True], id="file"),
        pytest.param(True, False, [True, True, True, True], id="nobody to carry"),
    ],
)
def test_every_kth_frame_of_an_epoch_is_segmented(
    account: StreamAccount, clock: ManualClock, live: bool, tracked: bool, segmented: list[bool]
) -> None:
    settings = StreamSettings(segment_every=3)
    window = make_window(account, clock, settings, live=live, tracked=tracked)
    flights = [window.admit(waiting(i, kept=i + 1), newest=True) for i in range(4)]
    assert [flight is not None and flight.segmented for flight in flights] == segmented


def test_a_window_has_room_for_a_number_of_frames_and_of_bytes(
    account: StreamAccount, clock: ManualClock
) -> None:
    frame_bytes = make_frame().image.nbytes
    by_number = make_window(account, clock, StreamSettings(window=2))
    by_bytes = make_window(account, clock, StreamSettings(in_flight_bytes=2 * frame_bytes))
    for window in (by_number, by_bytes):
        for index in range(2):
            assert window.has_room(waiting(index))
            window.admit(waiting(index), newest=True)
        assert not window.has_room(waiting(2))
        assert window.clear() == 2


@pytest.mark.parametrize("name", ["window", "buffer", "segment_every"])
def test_settings_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"StreamSettings.{name} must be at least 1, got 0"):
        StreamSettings(**{name: 0})


LEFT = [(0.0, 0.0), (7.0, 0.0), (7.0, 11.0), (0.0, 11.0)]
RIGHT = [(8.0, 0.0), (15.0, 0.0), (15.0, 11.0), (8.0, 11.0)]


def test_only_inside_the_included_polygons_pixels_are_left() -> None:
    frame = make_frame(2)
    seen = PolygonRegion([LEFT], []).look(frame)
    assert np.array_equal(seen.image[:, :8], frame.image[:, :8])
    assert not seen.image[:, 8:].any()
    assert (seen.index, seen.pts_s) == (frame.index, frame.pts_s)


def test_overlapping_polygons_do_not_cancel_each_other_out() -> None:
    frame = make_frame(2)
    seen = PolygonRegion([LEFT, LEFT, RIGHT], []).look(frame)
    assert np.array_equal(seen.image, frame.image)


def test_without_included_polygons_the_frame_is_handed_on_as_it_is() -> None:
    frame = make_frame(2)
    assert PolygonRegion([], [LEFT]).look(frame) is frame


def test_instances_mostly_inside_an_ignored_polygon_are_left_out() -> None:
    found = make_instances(2)  # squares of 4 × 4 in the top left corner
    third = [(0.0, 0.0), (0.0, 3.0), (0.0, 3.0)]  # one column of four pixels
    assert len(PolygonRegion([], [LEFT]).keep(found)) == 0
    assert len(PolygonRegion([], [RIGHT]).keep(found)) == 2
    assert len(PolygonRegion([], [third]).keep(found)) == 2


def test_a_region_follows_the_size_of_the_pictures() -> None:
    region = PolygonRegion([LEFT], [LEFT])
    for size in ((12, 16), (24, 32)):
        assert region.look(make_frame(0, size=size)).size == size
        assert len(region.keep(make_instances(1, size=size))) == 0
