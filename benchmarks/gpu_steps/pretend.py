"""The engine on CUDA tensors without numbers: `python -m benchmarks.gpu_steps.pretend`.

Every stage runs as on a GPU, without one: the kernels' own launchers, which launch nothing. What
would mix devices, wait for a number or upload inside a stage is an error that names the stage.
Prints GFLOP and the peak of memory a pass needs, from which `pipeline.models.mask_rcnn.fit` knows
what fits.
"""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import MaskRCNN
from triton.runtime.jit import JITFunction

from benchmarks.gpu_steps.standins import CpuCuda
from pipeline.models.mask_rcnn.bench import network_for
from pipeline.models.mask_rcnn.engine.engine import Engine, Lap
from pipeline.models.mask_rcnn.engine.lanes import Steps
from pipeline.models.mask_rcnn.engine.operators import (
    nms_triton,
    preprocess_triton,
    roi_align_triton,
    runs_triton,
)
from pipeline.models.mask_rcnn.engine.operators.kernels import Kernels
from pipeline.models.mask_rcnn.engine.operators.preprocess import Batch
from pipeline.models.mask_rcnn.engine.results import Results, bring
from pipeline.models.mask_rcnn.fit import candidates_above
from pipeline.models.shared import layers
from pipeline.models.shared.convolution import PlainConv
from pipeline.models.shared.devices import Placement

CUDA = torch.device("cuda:0")
BUCKETS = ((800, 1344), (480, 640))


class HostInStage(AssertionError):
    """A stage stops for the host, or works on it."""


@dataclass(frozen=True)
class Pretended:
    """What a pass of one batch needs."""

    gflop: float
    """A picture, convolutions and matrix products."""
    peak_bytes: int
    """Of the pass, its input in it, without weights."""
    again_bytes: int
    """Of the repetition with all candidates, beyond what the pass holds."""
    weight_bytes: int


def pretend(
    network: MaskRCNN,
    bucket: tuple[int, int],
    batch: int,
    precision: str = "fp16",
    *,
    detections: int = 100,
    threshold: float = 0.1,
) -> Pretended:
    """Run every stage on pretended tensors, the repetition with all candidates too.

    Args:
        network: torchvision's.
        bucket: padded height and width.
        batch: pictures.
        precision: of the dense part.
        detections: kept in each picture.
        threshold: of scores; from every proposal as many as there can be are above it.

    Raises:
        HostInStage: names the stage and the operation.
    """
    stage = ["preprocess"]

    def lap(done: str) -> None:
        stage[0] = "masks" if done == "detections" else f"after {done!r}"

    with _pretending():
        engine = Engine(
            network, Placement(CUDA, precision, "pretended"), score_threshold=threshold,
            cuda=CpuCuda(), kernels=_kernels(),
        )  # fmt: skip
        weights = _bytes_of(engine, {})
        inputs = _batch(bucket, batch, engine.placement.dtype)
        engine._bucket(inputs)
        peak, again = _Peak([inputs.pixels]), _Peak([])
        flops = FlopCounterMode(display=False)
        try:
            with torch.inference_mode(), _OnDevice(stage, uploads=True):
                _prepared(engine, batch)
            stage[0] = "body, pyramid, proposal head"
            with torch.inference_mode(), peak, flops:
                with _OnDevice(stage):
                    results = _results(_begun(engine, inputs, lap), detections * batch)
                stage[0] = "results to the host"
                with _OnDevice(stage, uploads=True):
                    next(
                        bring(results, [(1080, 1920)] * batch, engine._kernels.paste, engine._found)
                    )
            with torch.inference_mode(), _OnDevice(stage):
                steps = _begun(engine, inputs, lap)
                stage[0] = "all candidates"
                with again:
                    steps.send([-candidates_above(threshold)])
                _results(steps, detections * batch)
        except HostInStage:
            raise
        except Exception as error:
            text = str(error).partition("\n")[0]
            raise HostInStage(f"stage {stage[0]}: {type(error).__name__}: {text}") from error
    return Pretended(flops.get_total_flops() / 1e9 / batch, peak.bytes, again.bytes, weights)


def _begun(engine: Engine, inputs: Batch, lap: Lap) -> Steps[Results]:
    """A pass that waits for its number."""
    steps = engine._forward(inputs, lap, engine._lanes._lanes[0])
    next(steps)
    return steps


def _results(steps: Steps[Results], count: Any) -> Results:
    """What a pass leaves on the device, told its number."""
    try:
        steps.send([count])
    except StopIteration as end:
        results: Results = end.value
        return results
    raise HostInStage("a pass waits for more than its number")


def _prepared(engine: Engine, count: int) -> None:
    """Pictures from the host to network input; the bytes themselves are pretended."""
    picture = np.zeros((1080, 1920, 3), np.uint8)
    starts = [i * picture.size for i in range(count)]
    slab = torch.empty(count * picture.size, dtype=torch.uint8, device=CUDA)
    with patch.object(preprocess_triton, "_upload", lambda *_: (slab, starts)):
        placement = engine.placement
        engine._kernels.prepare([picture] * count, engine.input_rules, placement.dtype, CUDA)


def _kernels() -> Kernels:
    return Kernels(
        preprocess_triton.prepare, nms_triton.nms, roi_align_triton.roi_align, runs_triton.paste
    )


def _batch(bucket: tuple[int, int], count: int, dtype: torch.dtype) -> Batch:
    pixels = torch.empty(count, *bucket, 3, dtype=dtype, device=CUDA).permute(0, 3, 1, 2)
    sizes = torch.empty(count, 2, device=CUDA)
    return Batch(pixels, sizes, sizes.clone())


@contextmanager
def _pretending() -> Iterator[None]:
    """Pretended tensors inside; kernels only look at what they are given, cuDNN is plain."""

    def launch(self: Any, *given: Any, grid: Any, warmup: bool, **options: Any) -> None:
        for name, value in zip(self.arg_names, given, strict=False):
            if not isinstance(value, Tensor):
                continue
            where = f"kernel {self.fn.__name__}: {name}"
            if value.device != CUDA:
                raise HostInStage(f"{where} is on {value.device}")
            if not value.is_contiguous():
                raise HostInStage(f"{where} has gaps between its numbers: {value.stride()}")

    class Plain(PlainConv):
        def __init__(self, weights: Any, device: Any, dtype: Any) -> None:
            super().__init__(weights, device, dtype, relu=True)

        def __call__(self, x: Tensor, into: Tensor | None = None) -> Tensor:
            x = super().__call__(x)
            return x if into is None else x.add_(into)  # cuDNN leaves the residual as it is

    def interpolate(x: Tensor, size: Any, mode: str) -> Tensor:
        """As CUDA's; the pretended one goes through float32 and copies."""
        return x.new_empty(len(x), *size, x.shape[1]).permute(0, 3, 1, 2)

    with ExitStack() as stack:
        stack.enter_context(patch("torch.nn.functional.interpolate", interpolate))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(patch.object(JITFunction, "run", launch))
        stack.enter_context(patch.object(layers, "cudnn_usable", lambda *_: True))
        stack.enter_context(patch.object(layers, "CudnnConv", Plain))
        yield


class _OnDevice(TorchDispatchMode):
    """No operation inside reads or makes a tensor of the host; with `uploads`, none downloads."""

    def __init__(self, stage: list[str], *, uploads: bool = False) -> None:
        super().__init__()
        self._stage, self._uploads = stage, uploads

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given, made = _flat((args, list((kwargs or {}).values()))), _flat(result)
        if self._uploads and not any(tensor.device == CUDA for tensor in given):
            return result
        for tensor in made if self._uploads else (*given, *made):
            if tensor.device.type == "cpu":
                raise HostInStage(f"stage {self._stage[0]}: {func} works on the host")
        return result


class _Peak(TorchDispatchMode):
    """The most bytes of tensors alive at once, counted by storage."""

    def __init__(self, given: list[Tensor]) -> None:
        super().__init__()
        self.bytes = 0
        self._alive: dict[int, int] = {}
        for tensor in given:
            self._note(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in _flat(result):
            self._note(tensor)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        self.bytes = max(self.bytes, sum(self._alive.values()))
        weakref.finalize(storage, self._alive.pop, key, None)


def _flat(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _flat(item)]
    return []


def _bytes_of(thing: Any, seen: dict[int, Any]) -> int:
    """Of the pretended tensors on the device that an object of ours holds."""
    if id(thing) in seen:
        return 0
    seen[id(thing)] = thing
    if isinstance(thing, Tensor):
        return thing.untyped_storage().nbytes() if thing.device == CUDA else 0
    items: Any = ()
    if isinstance(thing, list | tuple):
        items = thing
    elif isinstance(thing, dict):
        items = list(thing.values())
    elif type(thing).__module__.startswith(("pipeline", "benchmarks")):
        items = list(getattr(thing, "__dict__", {}).values())
    return sum(_bytes_of(item, seen) for item in items)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="maskrcnn_resnet50_fpn")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 16, 32])
    arguments = parser.parse_args()
    network = network_for(arguments.model)
    for precision in ("fp16", "fp32"):
        for bucket in BUCKETS:
            for batch in arguments.batch:
                need = pretend(network, bucket, batch, precision)
                print(
                    f"{arguments.model} in {precision}, {bucket[0]}x{bucket[1]}, batch {batch}: "
                    f"{need.gflop:.0f} GFLOP a picture, peak {need.peak_bytes / 1e6:,.0f} MB "
                    f"({need.peak_bytes / 1e6 / batch:.0f} a picture), "
                    f"weights {need.weight_bytes / 1e6:.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
