"""Pairs of tracks and detections: SciPy's own solver, whichever way it is reached."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from pipeline.tracking.association import assignment, match


@pytest.fixture(params=["its file alone", "all of SciPy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "all of SciPy":
        monkeypatch.setattr(PathFinder, "find_spec", lambda *_: None)
    assignment.cache_clear()
    assert (assignment() is linear_sum_assignment) == (request.param == "all of SciPy")
    yield
    assignment.cache_clear()


def test_the_pairs_are_those_of_scipy_ties_included(way: None) -> None:
    rng = np.random.default_rng(5)
    for shape in ((1, 1), (3, 7), (20, 20), (50, 30)):
        similarity = rng.integers(0, 4, shape) / 4
        gain = np.where(similarity > 0.25, similarity - 0.25, 0.0)
        rows, columns = linear_sum_assignment(gain, maximize=True)
        kept = gain[rows, columns] > 0
        found = match(similarity, 0.25)
        np.testing.assert_array_equal(found, (rows[kept], columns[kept]))


def test_a_process_that_only_tracks_loads_no_other_part_of_scipy() -> None:
    code = (
        "import sys, numpy as np; from pipeline.tracking.association import match;"
        "print(match(np.array([[0.6, 0.9], [0.5, 0.7]]), 0.1)[1].tolist(), 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[1, 0] False\n"
