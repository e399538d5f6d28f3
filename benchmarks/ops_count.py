"""How many operations a batch dispatches: `python -m benchmarks.ops_count` from the root.

Launching operations is what holds a GPU back once its kernels are fast, and an operation whose
result the host must see stops everything. Both can be counted without a GPU. Exits with 1 where
the engine's number depends on the batch or on what is found, or where it waits more than once.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection import MaskRCNN

from benchmarks.gpu_steps.standins import CpuCuda
from benchmarks.machine import machine
from pipeline.models.mask_rcnn.bench import network_for, noise, to_torchvision
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.operators.preprocess import prepare
from pipeline.models.shared.devices import place

WAITS = ("_local_scalar_dense", "item", "nonzero", "unique", "masked_select", "torchvision.nms")
"""Parts of the names of operations whose result has a size or value the host must know."""


class OperationCounter(TorchDispatchMode):
    """Counts what is dispatched while it is active, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names[str(func)] += 1
        return func(*args, **(kwargs or {}))

    @property
    def waits(self) -> Counter[str]:
        """Those after which a GPU would stand still."""
        return Counter(
            {
                name: count
                for name, count in self.names.items()
                if not name.startswith("maskstream") and any(word in name for word in WAITS)
            }
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="maskrcnn_resnet50_fpn")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("H", "W"))
    arguments = parser.parse_args()
    print(machine("torch", "torchvision"))
    network = network_for(arguments.model)
    network.transform.min_size, network.transform.max_size = (arguments.size[0],), arguments.size[1]
    images = noise(tuple(arguments.size), 16)
    placement = place("cpu")
    (everything,) = Engine(network, placement, score_threshold=0.0).run(images[:1])
    thresholds = (0.0, float(everything.scores[1]))
    totals, waits = set(), set()
    for threshold in thresholds:
        engine = Engine(network, placement, score_threshold=threshold, cuda=CpuCuda())
        for batch in (1, 16):
            ready = prepare(images[:batch], engine.input_rules, placement.dtype)
            counter, found = counted(lambda: engine.forward(ready, _unrecorded))  # noqa: B023 - called here
            _report(f"engine, batch {batch}, {len(found.scores)} detections", counter)
            totals.add(counter.names.total())
            waits.add(counter.waits.total())
    for threshold in thresholds:
        counter, _ = counted(lambda: torchvision(network, images[:1], threshold))  # noqa: B023
        _report(f"torchvision, batch 1, threshold {threshold:.4f}", counter)
    if len(totals) > 1 or max(waits) > 1:
        print(f"the engine's number of operations varies: {sorted(totals)}, waits {sorted(waits)}")
        sys.exit(1)


def _unrecorded(stage: str) -> None:
    """Who measures stages gets no recorded graph, which copies inputs that have moved."""


def counted(call: Callable[[], Any]) -> tuple[OperationCounter, Any]:
    """Count one call, after another that makes what is made once."""
    with torch.inference_mode():
        call()
        with OperationCounter() as counter:
            result = call()
    return counter, result


def torchvision(network: MaskRCNN, images: list[Any], threshold: float) -> Any:
    network.roi_heads.score_thresh = threshold
    return network([to_torchvision(image) for image in images])


def _report(title: str, counter: OperationCounter) -> None:
    waits = ", ".join(f"{count} {name}" for name, count in counter.waits.items()) or "none"
    print(f"{title}: {counter.names.total()} operations; waits: {waits}")


if __name__ == "__main__":
    main()
