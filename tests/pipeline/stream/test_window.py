"""Who gets a place among the frames in flight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.stream import StreamSettings
from pipeline.stream.capture import Captured, Mark
from pipeline.stream.sampling import Sampled
from pipeline.stream.window import Flight, Forecast, Verdict, Window
from pipeline.testing import ManualClock, make_frame


def waiting(index: int = 0, at_s: float = 0.0, kept: int = 1) -> Captured:
    frame = make_frame(index)
    return Captured(frame, at_s, 0.0, Mark(0, index, frame.pts_s, Sampled(), kept, index + 1, {}))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


MakeWindow = Callable[..., Window]


@pytest.fixture
def make_window(clock: ManualClock) -> MakeWindow:
    def make(*, live: bool = True, tracked: bool = True, **settings: Any) -> Window:
        return Window(StreamSettings(**settings), live=live, tracked=tracked, clock=clock)

    return make


def fly(window: Window, clock: ManualClock, seconds: float) -> None:
    """Let one frame be segmented in so many seconds."""
    flight = window.add(waiting(), segmented=True)
    flight.submitted_at_s = clock()
    clock.advance(seconds)
    flight.done_at_s = clock()
    window.pop()


def test_a_frame_older_than_the_budget_is_dropped(
    make_window: MakeWindow, clock: ManualClock
) -> None:
    window = make_window(max_latency_s=0.5)
    clock.advance(0.6)
    assert window.judge(waiting(at_s=0.0), newest=True) is Verdict.DROP
    assert window.judge(waiting(at_s=0.2), newest=True) is Verdict.SEGMENT


def test_a_frame_that_would_be_too_old_when_segmented_is_dropped_before(
    make_window: MakeWindow, clock: ManualClock
) -> None:
    window = make_window(max_latency_s=0.5)
    fly(window, clock, 0.4)
    now = clock()
    assert window.judge(waiting(at_s=now - 0.05), newest=False) is Verdict.SEGMENT
    assert window.judge(waiting(at_s=now - 0.15), newest=False) is Verdict.DROP


def test_frames_ahead_count_as_time(make_window: MakeWindow, clock: ManualClock) -> None:
    window = make_window(max_latency_s=0.5)
    fly(window, clock, 0.2)
    now = clock()
    assert window.judge(waiting(at_s=now), newest=False) is Verdict.SEGMENT
    window.add(waiting(at_s=now), segmented=True)
    assert window.judge(waiting(at_s=now), newest=False) is Verdict.SEGMENT
    window.add(waiting(at_s=now), segmented=True)
    assert window.judge(waiting(at_s=now), newest=False) is Verdict.DROP


def test_frames_the_tracker_carries_take_no_time(
    make_window: MakeWindow, clock: ManualClock
) -> None:
    """Else a stretch of carried frames would keep every other frame from being segmented."""
    window = make_window(max_latency_s=0.5, adaptive=True)
    fly(window, clock, 0.2)
    now = clock()
    window.add(waiting(at_s=now), segmented=True)
    for _ in range(5):
        window.add(waiting(at_s=now), segmented=False)
    assert window.judge(waiting(at_s=now), newest=False) is Verdict.SEGMENT
    window.add(waiting(at_s=now), segmented=True)
    assert window.judge(waiting(at_s=now), newest=False) is Verdict.CARRY


def test_while_no_answer_is_known_one_frame_goes_ahead_and_the_newest_waits(
    make_window: MakeWindow, clock: ManualClock
) -> None:
    window = make_window(max_latency_s=0.5)
    assert window.judge(waiting(0), newest=False) is Verdict.SEGMENT
    window.add(waiting(0), segmented=True)
    assert window.judge(waiting(1), newest=False) is Verdict.DROP
    assert window.judge(waiting(2), newest=True) is Verdict.WAIT


def test_the_newest_frame_is_tried_when_nothing_is_in_flight(
    make_window: MakeWindow, clock: ManualClock
) -> None:
    window = make_window(max_latency_s=0.5)
    fly(window, clock, 9.0)
    fresh = waiting(at_s=clock())
    assert window.judge(fresh, newest=False) is Verdict.DROP
    assert window.judge(fresh, newest=True) is Verdict.SEGMENT
    window.add(fresh, segmented=True)
    assert window.judge(fresh, newest=True) is Verdict.WAIT


def test_one_slow_answer_is_forgotten(make_window: MakeWindow, clock: ManualClock) -> None:
    window = make_window(max_latency_s=0.5)
    fly(window, clock, 9.0)
    for _ in range(32):
        fly(window, clock, 0.1)
    assert window.judge(waiting(at_s=clock()), newest=False) is Verdict.SEGMENT


def test_an_adaptive_window_carries_fresh_frames_and_drops_old_ones(
    make_window: MakeWindow, clock: ManualClock
) -> None:
    window = make_window(max_latency_s=0.5, adaptive=True)
    fly(window, clock, 9.0)
    assert window.judge(waiting(at_s=clock() - 0.1), newest=False) is Verdict.CARRY
    assert window.judge(waiting(at_s=clock() - 0.6), newest=False) is Verdict.DROP
    untracked = make_window(max_latency_s=0.5, adaptive=True, tracked=False)
    fly(untracked, clock, 9.0)
    assert untracked.judge(waiting(at_s=clock() - 0.1), newest=False) is Verdict.DROP


def test_files_have_no_budget(make_window: MakeWindow, clock: ManualClock) -> None:
    window = make_window(max_latency_s=0.5, live=False)
    clock.advance(100.0)
    assert window.judge(waiting(at_s=0.0), newest=False) is Verdict.SEGMENT


@pytest.mark.parametrize(
    ("live", "tracked", "carried"),
    [
        pytest.param(True, True, [1, 2], id="tracked"),
        pytest.param(False, True, [1, 2], id="file"),
        pytest.param(True, False, [], id="nobody to carry"),
    ],
)
def test_every_kth_frame_of_an_epoch_is_segmented(
    make_window: MakeWindow, live: bool, tracked: bool, carried: list[int]
) -> None:
    window = make_window(live=live, tracked=tracked, segment_every=3)
    verdicts = [window.judge(waiting(i, kept=i + 1), newest=True) for i in range(4)]
    assert [i for i, v in enumerate(verdicts) if v is Verdict.CARRY] == carried
    assert verdicts[0] is verdicts[3] is Verdict.SEGMENT


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param({"window": 2}, id="frames"),
        pytest.param({"in_flight_bytes": 2 * make_frame().image.nbytes}, id="bytes"),
    ],
)
def test_without_room_a_frame_waits(make_window: MakeWindow, limit: dict[str, int]) -> None:
    window = make_window(**limit)
    for index in range(2):
        assert window.judge(waiting(index), newest=False) is Verdict.SEGMENT
        window.add(waiting(index), segmented=True)
    assert window.judge(waiting(2), newest=False) is Verdict.WAIT
    assert window.clear() == 2


def test_a_forecast_tells_what_every_frame_needs_from_what_each_one_ahead_adds() -> None:
    forecast = Forecast()
    submitted_s = 0.0
    for number in range(40):  # 0.3 s on the way, and 0.1 s each in the model, two in flight
        flight = Flight(waiting(), True, ahead=1)
        flight.submitted_at_s = submitted_s
        flight.done_at_s = 0.1 * (number + 1) + 0.3
        submitted_s = 0.1 * (number + 1) - 0.1
        forecast.learn(flight)
    assert forecast.expected_s(0) == pytest.approx(0.4, abs=0.02)
    assert forecast.expected_s(5) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("name", ["window", "buffer", "segment_every"])
def test_settings_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"StreamSettings.{name} must be at least 1, got 0"):
        StreamSettings(**{name: 0})
