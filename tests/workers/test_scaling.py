"""How many workers, threads and bytes for which machine."""

import pytest

from workers.scaling import Plan, at_once, groups, in_flight_share_mb, plan, store_bytes

MB = 1 << 20


@pytest.mark.parametrize(
    ("segment", "gpus", "cores", "expected"),
    [
        pytest.param("auto", 0, 2, Plan(1, 0.0, 2), id="two cores"),
        pytest.param("auto", 0, 16, Plan(1, 0.0, 14), id="sixteen cores"),
        pytest.param(2, 0, 2, Plan(2, 0.0, 1), id="two workers share two cores"),
        pytest.param(4, 0, 2, Plan(4, 0.0, 1), id="more workers than cores"),
        pytest.param("auto", 4, 32, Plan(4, 1.0, 4), id="one a GPU"),
        pytest.param(2, 1, 8, Plan(2, 0.5, 4), id="two share a GPU"),
        pytest.param(2, 4, 8, Plan(2, 1.0, 4), id="fewer than GPUs"),
    ],
)
def test_the_plan_fits_the_machine(
    segment: int | str, gpus: int, cores: int, expected: Plan
) -> None:
    assert plan(segment, gpus=gpus, cores=cores) == expected


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        pytest.param(10_000 * MB, 740 * MB, id="room enough"),
        pytest.param(500 * MB, 400 * MB, id="four fifths of what is free"),
        pytest.param(64 * MB, 256 * MB, id="never less than Ray can work with"),
    ],
)
def test_the_object_store_holds_everything_in_flight_twice(free: int, expected: int) -> None:
    size = store_bytes(in_flight_bytes=256 * MB, weights_bytes=100 * MB, free_bytes=free)
    assert size == expected


@pytest.mark.parametrize(
    ("live", "files", "expected"),
    [
        pytest.param(0, 1, 256.0, id="one file"),
        pytest.param(0, 8, 256.0, id="all at once"),
        pytest.param(0, 200, 6400.0, id="a 200th of it is an 8th of 256"),
        pytest.param(2, 30, 819.2, id="a 32nd of it is a 10th of 256"),
        pytest.param(5, 0, 256.0, id="cameras"),
    ],
)
def test_a_stream_shares_the_budget_with_those_that_run_beside_it(
    live: int, files: int, expected: float
) -> None:
    assert in_flight_share_mb(256.0, live=live, files=files, at_once=8) == expected


@pytest.mark.parametrize(("cores", "expected"), [(1, 4), (2, 4), (16, 32)])
def test_a_machine_reads_two_files_a_core_at_once(cores: int, expected: int) -> None:
    assert at_once(cores=cores) == expected


def test_streams_are_dealt_to_workers_in_order() -> None:
    assert groups(["a", "b", "c"], 1) == [("a",), ("b",), ("c",)]
    assert groups(["a", "b", "c"], 2) == [("a", "b"), ("c",)]
    assert groups([], 2) == []
