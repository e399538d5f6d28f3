"""The benchmark of a large run's start looks at functions that are there."""

from __future__ import annotations

import pytest

from benchmarks.start import WATCHED, place


@pytest.mark.parametrize("function", WATCHED)
def test_what_the_benchmark_of_the_start_watches_is_there(function: str) -> None:
    owner, name = place(function)
    assert callable(getattr(owner, name))
