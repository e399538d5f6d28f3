"""One round of matching: the pairs with the greatest gain over the gate, each side used once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path

import numpy as np

from pipeline.arrays import Floats, Ints


def match(similarity: Floats, gate: float | Floats) -> tuple[Ints, Ints]:
    """Match rows to columns.

    What is maximised is the sum of `similarity - gate` over matched pairs above the gate, so one
    good pair beats two that barely pass.

    Args:
        similarity: (T, N); higher is more alike.
        gate: pairs at or below it are never matched; one number or (T, N).

    Returns:
        Rows and columns of the matched pairs, rows ascending.
    """
    gain = similarity - gate
    allowed = gain > 0.0
    rows, columns = np.nonzero(allowed)
    if len(rows) == 0:
        return rows, columns
    if allowed.sum(axis=0).max() == 1 and allowed.sum(axis=1).max() == 1:
        return rows, columns  # nobody competes
    rows, columns = assignment()(np.where(allowed, gain, 0.0), maximize=True)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


@cache
def assignment() -> Callable[..., tuple[Ints, Ints]]:
    """SciPy's `linear_sum_assignment`, without the rest of SciPy where that can be had.

    It is one compiled file that needs NumPy alone. Importing `scipy.optimize` for it costs every
    process of a stream half a second of a core and 48 MB.
    """
    scipy = find_spec("scipy")
    folders = [str(Path(f, "optimize")) for f in (scipy and scipy.submodule_search_locations) or ()]
    found = PathFinder.find_spec("_lsap", folders)
    if found is None or found.loader is None:
        from scipy.optimize import linear_sum_assignment

        return linear_sum_assignment
    module = module_from_spec(found)
    found.loader.exec_module(module)
    alone: Callable[..., tuple[Ints, Ints]] = module.linear_sum_assignment
    return alone
