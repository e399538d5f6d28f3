"""Epochs and times: monotone within an epoch, a new one at every break."""

from __future__ import annotations

import pytest

from pipeline.sources.timeline import Moment, Timeline

SIZE = (48, 64)


def placed(*stamps: float | None, interval_s: float = 0.1) -> list[tuple[int, float]]:
    timeline = Timeline(interval_s=interval_s)
    return [(m.epoch, round(m.pts_s, 6)) for m in (timeline.place(t, SIZE) for t in stamps)]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        pytest.param((0, 0.1, 0.2), [(0, 0), (0, 0.1), (0, 0.2)], id="steady"),
        pytest.param((40.0, 40.1), [(0, 40.0), (0, 40.1)], id="starts-late"),
        pytest.param((-0.2, -0.1), [(0, -0.2), (0, -0.1)], id="starts-below-zero"),
        pytest.param((0, 5.0), [(0, 0), (0, 5.0)], id="a-pause"),
        pytest.param((0, 5.01), [(0, 0), (1, 5.01)], id="too-long-a-step"),
        pytest.param((9, 9.1, 0, 0.1), [(0, 9), (0, 9.1), (1, 0), (1, 0.1)], id="back"),
        pytest.param((1, 1, 1, 1.1), [(0, 1), (0, 1.000001), (0, 1.000002), (0, 1.1)], id="again"),
        pytest.param((None, None, None), [(0, 0), (0, 0.1), (0, 0.2)], id="none-at-all"),
        pytest.param((1, None, 1.2), [(0, 1), (0, 1.1), (0, 1.2)], id="one-missing"),
    ],
)
def test_time_stamps_become_moments(
    stamps: tuple[float | None, ...], expected: list[tuple[int, float]]
) -> None:
    assert placed(*stamps) == expected


def test_time_lapse_may_take_long_steps() -> None:
    assert placed(0, 60, 120, interval_s=60) == [(0, 0), (0, 60), (0, 120)]


def test_a_change_of_size_is_an_epoch_but_no_break() -> None:
    timeline = Timeline(interval_s=0.1)
    timeline.place(0.0, SIZE)
    assert timeline.place(0.1, (96, 128)) == Moment(1, 0.1, 0.1)
    assert timeline.breaks == 0


def test_a_break_with_a_change_of_size_is_one_epoch() -> None:
    timeline = Timeline(interval_s=0.1)
    timeline.place(8.0, SIZE)
    assert timeline.place(0.0, (96, 128)).epoch == 1
    assert timeline.breaks == 1


def test_a_restart_is_an_epoch_whatever_the_time_says() -> None:
    timeline = Timeline(interval_s=0.1, epoch=4)
    timeline.restart(interval_s=0.1)
    assert timeline.place(3.0, SIZE).epoch == 4  # nothing came before it
    timeline.restart(interval_s=0.1)
    timeline.restart(interval_s=0.1)
    assert timeline.place(3.1, SIZE).epoch == 5
    assert timeline.place(3.2, SIZE).epoch == 5
    assert timeline.breaks == 0


def test_elapsed_time_closes_up_the_breaks() -> None:
    timeline = Timeline(interval_s=0.1)
    elapsed = [timeline.place(t, SIZE).elapsed_s for t in (50.0, 50.1, 7.0, 7.2, 90.0)]
    assert elapsed == pytest.approx([0, 0.1, 0.2, 0.4, 0.5])
