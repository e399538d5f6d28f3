"""Replays a fixed sequence of GPU operations in one go (CUDA graphs).

A pass has fixed shapes for a padded size and a number of pictures, so that after the first one its
hundreds of launches become a single one. Where capturing is refused, passes run operation by
operation, and a warning says so.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.models.mask_rcnn.engine.cuda import Cuda, Tensors

_log = logging.getLogger(__name__)
_GRAPHS_KEPT = 24


@dataclass(frozen=True)
class _Recorded:
    call: Callable[..., Tensors]
    """Kept for what it holds: a replay reads its tensors where they were, freed or not."""
    replay: Callable[[], None]
    inputs: Tensors
    outputs: Tensors


class Graphs:
    """Recorded sequences by key, the least recently used one forgotten first.

    Outputs are overwritten by the next replay of the same key. All records share one pool of memory
    for what lies between their inputs and outputs, which is safe because they run one at a time.

    Args:
        cuda: of the device; None: it has none, and everything runs operation by operation.
    """

    def __init__(self, cuda: Cuda | None) -> None:
        self._cuda = cuda
        self._made: OrderedDict[Hashable, _Recorded] = OrderedDict()
        self._pool: Any = None

    def run(self, key: Hashable, call: Callable[..., Tensors], *inputs: Tensor) -> Tensors:
        """`call(*inputs)`, from its record where there is one.

        `call` must do the same operations on the same shapes whenever the key is the same.
        """
        if self._cuda is None:
            return call(*inputs)
        if key not in self._made and not self._record(self._cuda, key, call, inputs):
            return call(*inputs)
        self._made.move_to_end(key)
        recorded = self._made[key]
        for own, given in zip(recorded.inputs, inputs, strict=True):
            if own.data_ptr() != given.data_ptr():
                own.copy_(given)
        recorded.replay()
        return recorded.outputs

    def clear(self) -> None:
        """Forget all records and give up their memory."""
        self._made.clear()
        self._pool = None

    def _own(self, given: Tensor) -> Tensor:
        """A place for an input that stays: what another record puts out stays where it is."""
        for recorded in self._made.values():
            if any(given is output for output in recorded.outputs):
                return given
        return torch.empty_like(given).copy_(given)

    def _record(
        self, cuda: Cuda, key: Hashable, call: Callable[..., Tensors], inputs: Tensors
    ) -> bool:
        try:
            own = tuple(self._own(given) for given in inputs)
            for _ in range(2):
                call(*own)  # libraries allocate and choose in their first calls; no graph may
            self._pool = self._pool or cuda.pool()
            replay, outputs = cuda.record(lambda: call(*own), self._pool)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # ending a capture in which memory ran out fails too, with an error of its own
            if isinstance(error.__context__, torch.OutOfMemoryError):
                raise error.__context__ from None
            self._cuda = None
            _log.warning("CUDA graphs are not used: %s", str(error).partition("\n")[0])
            return False
        self._made[key] = _Recorded(call, replay, own, outputs)
        if len(self._made) > _GRAPHS_KEPT:
            self._made.popitem(last=False)
        return True
