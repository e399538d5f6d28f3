"""One round of matching: the pairs with the greatest gain over the gate, each side used once."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

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
    rows, columns = linear_sum_assignment(np.where(allowed, gain, 0.0), maximize=True)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]
