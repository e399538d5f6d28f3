"""How many workers, threads and bytes for which machine."""

import pytest

from workers.scaling import Fleet, fleet, groups, store_bytes

MB = 1 << 20


@pytest.mark.parametrize(
    ("segment", "gpus", "cores", "expected"),
    [
        pytest.param("auto", 0, 2, Fleet(1, 0.0, 2), id="two cores"),
        pytest.param("auto", 0, 16, Fleet(1, 0.0, 14), id="sixteen cores"),
        pytest.param(2, 0, 2, Fleet(2, 0.0, 1), id="two workers share two cores"),
        pytest.param(4, 0, 2, Fleet(4, 0.0, 1), id="more workers than cores"),
        pytest.param("auto", 4, 32, Fleet(4, 1.0, 4), id="one a GPU"),
        pytest.param(2, 1, 8, Fleet(2, 0.5, 4), id="two share a GPU"),
        pytest.param(2, 4, 8, Fleet(2, 1.0, 4), id="fewer than GPUs"),
    ],
)
def test_the_fleet_fits_the_machine(
    segment: int | str, gpus: int, cores: int, expected: Fleet
) -> None:
    assert fleet(segment, gpus=gpus, cores=cores) == expected


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


def test_streams_are_dealt_to_workers_in_order() -> None:
    assert groups(["a", "b", "c"], 1) == [("a",), ("b",), ("c",)]
    assert groups(["a", "b", "c"], 2) == [("a", "b"), ("c",)]
    assert groups([], 2) == []
