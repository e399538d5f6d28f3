"""Who takes the place of a frozen worker waits until that one lets go of the output."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.delivery.lock import Taken
from workers.predecessor import when_let_go


def taken(times: int) -> Callable[[], str]:
    """Something that is in the way so often."""
    left = [times]

    def build() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise Taken("another process is writing it")
        return "built"

    return build


def test_it_is_built_as_soon_as_the_output_is_free() -> None:
    pauses: list[float] = []
    assert when_let_go(taken(3), patience_s=2.0, pause=pauses.append) == "built"
    assert pauses == [0.1] * 3


@pytest.mark.parametrize(("patience_s", "pauses"), [(0.0, 0), (2.0, 20)])
def test_whoever_does_not_let_go_is_named(patience_s: float, pauses: int) -> None:
    waited: list[float] = []
    with pytest.raises(Taken, match="another process is writing it"):
        when_let_go(taken(1000), patience_s=patience_s, pause=waited.append)
    assert len(waited) == pauses
