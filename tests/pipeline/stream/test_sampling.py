"""Which pictures are taken: at most so many a second, every k-th place of a grid in time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stream.sampling import Sampling, Stride, Thinning


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


def strode(every: int, pictures: Iterable[tuple[float, int]]) -> list[int]:
    stride = Stride(every)
    return [index for pts_s, index in pictures if stride.keep(pts_s, index)]


@pytest.mark.parametrize("every", [1, 2, 3, 7])
@pytest.mark.parametrize("fps", [0.5, 25, 30000 / 1001])
def test_of_a_regular_stream_every_kth_picture_is_taken(every: int, fps: float) -> None:
    pictures = [(3.0 + i / fps, i) for i in range(60)]
    assert strode(every, pictures) == list(range(0, 60, every))


@given(every=st.integers(2, 6), early=st.lists(st.floats(-0.12, 0.12), min_size=40, max_size=40))
def test_jitter_moves_no_picture_to_another_place(every: int, early: list[float]) -> None:
    pictures = [(i + jitter, i) for i, jitter in enumerate(early)]
    assert strode(every, pictures) == list(range(0, 40, every))


def test_film_on_video_times_is_still_every_other_picture() -> None:
    steps = [2 / 60 if i % 2 else 3 / 60 for i in range(40)]  # 24 pictures on a clock of 60 ticks
    times = np.cumsum([0.0, *steps])
    assert strode(2, [(float(t), i) for i, t in enumerate(times)]) == list(range(0, 41, 2))


def test_a_lost_picture_has_its_place() -> None:
    places = [i for i in range(40) if i not in (7, 14, 18)]  # 14 and 18 were due or next to it
    taken = strode(5, [(place / 25, index) for index, place in enumerate(places)])
    assert [places[index] for index in taken] == [0, 5, 10, 15, 20, 25, 30, 35]


def test_where_a_due_picture_is_lost_the_next_stands_in_and_the_grid_stays() -> None:
    places = [i for i in range(40) if i not in (10, 20, 21)]
    taken = strode(5, [(place / 25, index) for index, place in enumerate(places)])
    assert [places[index] for index in taken] == [0, 5, 11, 15, 22, 25, 30, 35]


def test_pictures_that_were_not_decoded_count_by_their_index() -> None:
    pictures = [(i / 25, i) for i in range(0, 100, 5)]
    assert strode(10, pictures) == list(range(0, 100, 10))
    assert strode(5, pictures) == list(range(0, 100, 5))


def test_repeated_time_stamps_are_pictures_too() -> None:
    assert strode(2, [(1.0 + i * 1e-6, i) for i in range(6)]) == [0, 2, 4]
    assert strode(2, [(1.0, i) for i in range(6)]) == [0, 2, 4]


def test_a_new_epoch_begins_with_its_first_picture() -> None:
    stride = Stride(4)
    assert [stride.keep(i / 10, i) for i in range(3)] == [True, False, False]
    stride.reset()
    assert [stride.keep(i / 10, i) for i in range(3, 9)] == [True, *[False] * 3, True, False]


def test_max_fps_thins_what_the_stride_has_left() -> None:
    sampling = Sampling(stride=2, max_fps=5.0)
    causes = [sampling.cause_to_drop(i / 20, i) for i in range(9)]
    assert causes == [
        None,
        "stride",
        "max_fps",
        "stride",
        None,
        "stride",
        "max_fps",
        "stride",
        None,
    ]


@pytest.mark.parametrize("cut", range(1, 12))
def test_the_choice_goes_on_from_where_it_stood(cut: int) -> None:
    times = [i / 25 + 0.003 * (i % 3) for i in range(60) if i not in (9, 15, 31, 32)]
    whole = Sampling(stride=3, max_fps=6.0)
    taken = [i for i, t in enumerate(times) if whole.cause_to_drop(t, i) is None]
    first = Sampling(stride=3, max_fps=6.0)
    last = taken[cut]
    assert [i for i in range(last + 1) if first.cause_to_drop(times[i], i) is None] == taken[
        : cut + 1
    ]
    again = Sampling(stride=3, max_fps=6.0, last=(times[last], last), sampled=first.sampled)
    rest = [i for i in range(last + 1, len(times)) if again.cause_to_drop(times[i], i) is None]
    assert rest == taken[cut + 1 :]
