"""Stand-ins for a GPU: what the engine asks of CUDA, done on a CPU with CUDA's own rules.

A graph is a list of operations on fixed addresses; recording one yields no results, they come with
each replay. Bytes in pinned memory may be read only after the mark behind their copy was waited
for. Kernels are Triton's, run by its interpreter, or their twins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from pipeline.masks.paste import paste_toggles
from pipeline.models.mask_rcnn.engine.cuda import Cuda, Tensors
from pipeline.models.mask_rcnn.engine.operators.kernels import Kernels
from pipeline.models.mask_rcnn.engine.operators.nms import nms
from pipeline.models.mask_rcnn.engine.operators.preprocess import prepare
from pipeline.models.mask_rcnn.engine.operators.roi_align import roi_align

_recording: list[_Recorder] = []


class CpuCuda(Cuda):
    """CUDA as the engine knows it, on a CPU."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.recorded = self.replayed = 0
        self.in_flight: list[tuple[Tensor, Tensor]] = []
        """Pinned memory and what it will hold."""

    def stream(self) -> Any:
        """Any object: there is nothing to overlap with."""
        return object()

    @contextmanager
    def on(self, stream: Any) -> Iterator[None]:
        """Nothing to switch."""
        yield

    def pinned(self, count: int) -> Tensor:
        """Memory whose bytes arrive only when they are waited for."""
        memory = _Pinned(torch.zeros(count, dtype=torch.uint8))
        memory.owner = self
        return memory

    def mark(self) -> Callable[[], None]:
        """What was copied so far arrives when this is called."""
        arriving, self.in_flight = self.in_flight, []

        def wait() -> None:
            for memory, content in arriving:
                memory.copy_(content)

        return wait

    def pool(self) -> Any:
        """Any object."""
        return object()

    def record(self, call: Callable[[], Tensors], pool: Any) -> tuple[Callable[[], None], Tensors]:
        """Note all operations; their results are wiped, as nothing is computed while recording."""
        with _Recorder() as recorder:
            _recording.append(recorder)
            try:
                outputs = call()
            finally:
                _recording.pop()
        for output in outputs:
            output.fill_(float("nan") if output.is_floating_point() else -7)
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            recorder.replay()

        return replay, outputs

    def synchronize(self) -> None:
        """Nothing to wait for."""


class _Pinned(Tensor):
    """Pinned memory: a copy to it has begun when `copy_` returns, and ended after the mark."""

    owner: CpuCuda

    @staticmethod
    def __new__(cls, memory: Tensor) -> _Pinned:
        made: _Pinned = Tensor._make_subclass(cls, memory)
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plain = [a.as_subclass(Tensor) if isinstance(a, _Pinned) else a for a in args]
        if func is Tensor.copy_ and isinstance(args[0], _Pinned):
            args[0].owner.in_flight.append((plain[0], plain[1].clone()))
            return args[0]
        return func(*plain, **(kwargs or {}))


class _Recorder(TorchDispatchMode):
    """The operations of a graph, with the very tensors they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Callable[..., Any], Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.note(func, args, kwargs or {})

    def note(self, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call once for the shapes, and keep it for the replays."""
        result = call(*args, **kwargs)
        self.steps.append((call, args, kwargs, result))
        return result

    def replay(self) -> None:
        """Do it all again; results go where they went."""
        for call, args, kwargs, result in self.steps:
            again = call(*args, **kwargs)
            for place, value in zip(_tensors(result), _tensors(again), strict=True):
                if place.data_ptr() != value.data_ptr():
                    place.copy_(value)


def _tensors(result: Any) -> list[Tensor]:
    results = result if isinstance(result, tuple | list) else [result]
    return [t for t in results if isinstance(t, Tensor) and t.layout == torch.strided]


def begin_dry() -> None:
    """Make a step's process ready: one thread, and an interpreter that works with this numpy."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        from triton.runtime import interpreter
    except ImportError:  # the step that needs it will say so
        return
    patch_tensor = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        """Triton 3.6 makes a loop's limit of an array of one number, which numpy 2.5 refuses."""
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patched


def noted(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that is one operation of a graph that is being recorded."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if not _recording:
            return kernel(*args, **kwargs)
        with _disable_current_modes():
            return _recording[-1].note(kernel, args, kwargs)

    return call


def interpreted_kernels() -> Kernels:
    """The GPU kernels; Triton must have been imported with TRITON_INTERPRET=1."""
    from pipeline.models.mask_rcnn.engine.operators import (
        nms_triton,
        preprocess_triton,
        roi_align_triton,
        runs_triton,
    )

    return Kernels(
        preprocess_triton.prepare,
        noted(nms_triton.nms),
        noted(roi_align_triton.roi_align),
        runs_triton.paste,
    )


def twin_kernels() -> Kernels:
    """Their twins, where the interpreter would take minutes; masks to toggles among them."""
    return Kernels(prepare, noted(nms), noted(roi_align), paste)


def paste(
    probabilities: Tensor, boxes: Tensor, sizes: Tensor, widest: int, capacity: int
) -> tuple[Tensor, Tensor]:
    """See `runs_triton.paste`."""
    toggles, counts = torch.full((capacity,), -1, dtype=torch.int32), []
    for mask, box, size in zip(probabilities, boxes, sizes.tolist(), strict=True):
        own = paste_toggles(mask[None].numpy(), box[None].numpy(), tuple(size))
        first = sum(counts)
        room = max(0, capacity - first)
        toggles[first : first + len(own)] = torch.from_numpy(own[:room]).int()
        counts.append(len(own))
    return toggles, torch.tensor(counts, dtype=torch.int64)
