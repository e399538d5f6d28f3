"""`HandedOut`: where segment workers take the weights of a model from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline import models


class HandedOut:
    """Weights that lie where every segment worker takes them from.

    What holds them may lose them, as where they had to make room and the disk they went to was
    emptied. A worker waits for such in vain; for the next they are put there again.

    Args:
        weights: None: the model has none.
        put: puts them there; what it returns says where that is.
    """

    def __init__(
        self, weights: models.WeightsFile | None, put: Callable[[models.WeightsFile], Any]
    ) -> None:
        self.where: Any = None
        self._weights = weights
        self._put = put
        self.again()

    def again(self) -> None:
        """Put them there anew, wherever they were."""
        if self._weights is not None:
            self.where = self._put(self._weights)
