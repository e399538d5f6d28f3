"""What the engine asks of CUDA besides computing: streams, events, pinned memory, graphs.

Everything else reaches it through this class, so that a machine without a GPU can put something in
its place and see what is asked, when, and by whom.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]


class Cuda:
    """CUDA on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def stream(self) -> Any:
        """A new stream."""
        return torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

    def on(self, stream: Any) -> AbstractContextManager[Any]:
        """Work is put on `stream` inside."""
        return torch.cuda.stream(stream)

    def pinned(self, count: int) -> Tensor:
        """(count,) uint8 on the host from where the device copies without help."""
        return torch.empty(count, dtype=torch.uint8, pin_memory=True)

    def mark(self) -> Callable[[], None]:
        """A point in the current stream; calling what is returned waits until it is reached."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return event.synchronize

    def pool(self) -> Any:
        """A pool of memory for graphs that run one at a time."""
        return torch.cuda.graph_pool_handle()

    def record(self, call: Callable[[], Tensors], pool: Any) -> tuple[Callable[[], None], Tensors]:
        """Record `call` into a graph: what replays it, and the outputs a replay overwrites.

        Only this thread's calls count as part of it: in any other mode an allocation of another
        thread, as a source's or a sink's, breaks the graph, or that thread. It is recorded on the
        current stream: cuBLAS has one workspace a stream, and what is recorded on the stream that
        torch shares among all graphs would share it with a graph that runs at the same time.
        """
        graph = torch.cuda.CUDAGraph()
        here = torch.cuda.current_stream(self.device)
        with torch.cuda.graph(graph, pool=pool, stream=here, capture_error_mode="thread_local"):
            outputs = call()
        return graph.replay, outputs

    def synchronize(self) -> None:
        """Wait for everything."""
        torch.cuda.synchronize(self.device)


def cuda_for(device: torch.device) -> Cuda | None:
    """CUDA where the device has it."""
    return Cuda(device) if device.type == "cuda" else None
