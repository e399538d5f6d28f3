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

_log = logging.getLogger(__name__)
_GRAPHS_KEPT = 24
Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    outputs: Tensors


class Graphs:
    """Recorded sequences by key, the least recently used one forgotten first.

    Outputs are overwritten by the next replay of the same key. All records share one pool of memory
    for what lies between their inputs and outputs, which is safe because they run one at a time.
    """

    def __init__(self, device: torch.device) -> None:
        self._usable = device.type == "cuda"
        self._made: OrderedDict[Hashable, _Recorded] = OrderedDict()
        self._pool: Any = None

    def run(self, key: Hashable, call: Callable[..., Tensors], *inputs: Tensor) -> Tensors:
        """`call(*inputs)`, from its record where there is one.

        `call` must do the same operations on the same shapes whenever the key is the same.
        """
        if not self._usable:
            return call(*inputs)
        if key not in self._made and not self._record(key, call, inputs):
            return call(*inputs)
        self._made.move_to_end(key)
        recorded = self._made[key]
        for own, given in zip(recorded.inputs, inputs, strict=True):
            if own.data_ptr() != given.data_ptr():
                own.copy_(given)
        recorded.graph.replay()
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

    def _record(self, key: Hashable, call: Callable[..., Tensors], inputs: Tensors) -> bool:
        try:
            own = tuple(self._own(given) for given in inputs)
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):  # libraries allocate and choose in the first calls
                for _ in range(2):
                    call(*own)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            with torch.cuda.graph(graph, pool=self._pool):
                outputs = call(*own)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._usable = False
            _log.warning("CUDA graphs are not used: %s", str(error).partition("\n")[0])
            return False
        self._made[key] = _Recorded(graph, own, outputs)
        if len(self._made) > _GRAPHS_KEPT:
            self._made.popitem(last=False)
        return True
