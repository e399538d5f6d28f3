"""What a step works with: the device, or its stand-ins and tiny sizes in a dry run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import MaskRCNN

from benchmarks.gpu_steps.standins import CpuCuda, interpreted_kernels, twin_kernels
from pipeline.models import local_weights
from pipeline.models.mask_rcnn.engine.cuda import cuda_for
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.lanes import Lane
from pipeline.models.mask_rcnn.engine.operators.kernels import Kernels
from pipeline.models.mask_rcnn.weights import load_network
from pipeline.models.shared.devices import Placement, place
from pipeline.sources import open_source

Image = NDArray[np.uint8]
NAME = "maskrcnn_resnet18_fpn"
"""Has bundled weights."""


@dataclass(frozen=True)
class Rig:
    """A step's surroundings.

    Args:
        dry: on a CPU, with stand-ins for CUDA and tiny sizes.
        seconds: the step's budget.
        found: called with a name and a value as soon as something is known.
    """

    dry: bool
    seconds: float
    found: Callable[[str, object], None]

    @property
    def device(self) -> torch.device:
        """Where the step runs."""
        return torch.device("cpu" if self.dry else "cuda")

    def size(self, real: Any, tiny: Any) -> Any:
        """One of two sizes."""
        return tiny if self.dry else real

    def placement(self, precision: str) -> Placement:
        """Of an engine; a CPU has no fp16."""
        if self.dry:
            return place("cpu", "bf16" if precision == "fp16" else precision)
        return place("cuda", precision)

    def engine(
        self,
        network: MaskRCNN,
        precision: str = "fp16",
        *,
        threshold: float = 0.1,
        depth: int = 2,
        interpreted: bool = False,
    ) -> Engine:
        """An engine as it is on a GPU; in a dry run on stand-ins, perhaps with interpreted kernels.

        Interpreted kernels run without graphs: a pass takes seconds.
        """
        kernels: Kernels | None = None
        if self.dry:
            kernels = interpreted_kernels() if interpreted else twin_kernels()
        cuda = CpuCuda() if self.dry and not interpreted else None
        placement = self.placement(precision)
        return Engine(
            network, placement, score_threshold=threshold, depth=depth, cuda=cuda, kernels=kernels
        )

    def lane(self) -> Lane:
        """Of no engine."""
        return Lane(CpuCuda() if self.dry else cuda_for(self.device))

    def demo_network(self) -> MaskRCNN:
        """With the bundled weights; in a dry run it looks at small pictures and finds little."""
        network = load_network(NAME, local_weights("demo"))
        return shrunk(network, proposals=40, detections=6) if self.dry else network

    def streets(self, count: int, seed: int = 31) -> list[Image]:
        """Rendered pictures."""
        size = self.size("960x540", "160x96")
        source = open_source(
            f"synthetic://street?seed={seed}&frames={count}&size={size}", source_id="street"
        )
        return [frame.image for frame in source.frames()]

    def memory(self) -> tuple[int, int]:
        """Bytes of the device that are free, and all."""
        return (6 << 30, 8 << 30) if self.dry else torch.cuda.mem_get_info()

    def wait(self) -> None:
        """Until the device is done."""
        if not self.dry:
            torch.cuda.synchronize()

    def seconds_of(self, call: Callable[[], object], repeats: int = 20) -> float:
        """Seconds of one call among many in a row."""
        if self.dry:
            repeats = 1
        else:
            call()
            self.wait()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        self.wait()
        return (time.perf_counter() - start) / repeats

    def kernel_seconds_of(self, call: Callable[[], object], kernels: set[str]) -> float:
        """Seconds that one call's kernels of these names take, as the profiler saw them; or 0.

        It has to be permitted, and a CPU has none.
        """
        repeats = self.size(10, 1)
        activity = torch.profiler.ProfilerActivity
        with torch.profiler.profile(activities=[activity.CPU if self.dry else activity.CUDA]) as p:
            for _ in range(repeats):
                call()
            self.wait()
        launched = [event for event in p.key_averages() if event.key in kernels]
        return sum(event.self_device_time_total for event in launched) / 1e6 / repeats

    def bandwidth(self) -> float:
        """Bytes a second that a copy on the device reads and writes."""
        count = self.size(1 << 30, 1 << 20)
        source = torch.ones(count, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        return 2 * count / self.seconds_of(lambda: target.copy_(source))


def shrunk(network: MaskRCNN, *, proposals: int, detections: int, side: int = 96) -> MaskRCNN:
    """The network made to do little: for dry runs."""
    network.transform.min_size, network.transform.max_size = (side,), 2 * side
    for limits in (network.rpn._pre_nms_top_n, network.rpn._post_nms_top_n):
        limits["testing"] = proposals
    network.roi_heads.detections_per_img = detections
    return network
