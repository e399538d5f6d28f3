"""How fast a model is here: the engine beside torchvision's own forward, in one run.

Both get the same weights and the same pictures of noise, uint8 on the host, and the score
threshold is set so that about as many detections remain as asked for. The engine's time ends with
masks as runs, torchvision's with its masks pasted into full pictures (what it returns).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.arrays import Size
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.lanes import Pass
from pipeline.models.mask_rcnn.engine.operators.preprocess import InputRules
from pipeline.models.mask_rcnn.fit import NEEDS
from pipeline.models.mask_rcnn.fit import table as fits_on_cards
from pipeline.models.mask_rcnn.found import Found
from pipeline.models.mask_rcnn.networks import build_network
from pipeline.models.mask_rcnn.weights import load_network
from pipeline.models.shared.devices import Placement, place
from pipeline.models.shared.files import WeightsFile

Images = list[NDArray[np.uint8]]
_RESULT_STAGE = "results to runs"


@dataclass(frozen=True)
class Row:
    """One size, batch and number of detections; times are milliseconds a picture."""

    size: Size
    batch: int
    detections: float
    """Per picture, as found by the engine."""
    engine: float
    """Median."""
    slowest: float
    """99th percentile of the engine."""
    torchvision: dict[str, float]
    """Median by kind of forward; nan where it failed."""
    stages: dict[str, float]
    """Median of each stage of the engine, in order."""
    overlapped: float | None = None
    """With as many batches under way as the engine takes; None where it takes one."""
    peak_bytes: int | None = None
    """Of a GPU, for each picture in flight; None on a CPU."""

    def __str__(self) -> str:
        height, width = self.size
        lines = [
            f"{width}x{height}, batch {self.batch}, {self.detections:.0f} detections a picture: "
            f"{self.engine:.1f} ms ({1e3 / self.engine:.2f} frames/s), p99 {self.slowest:.1f} ms"
        ]
        lines += [
            f"  {ms / self.engine:5.2f} x as fast as {kind} ({ms:.1f} ms)"
            for kind, ms in self.torchvision.items()
        ]
        if self.overlapped is not None:
            lines.append(
                f"  {self.overlapped:.2f} ms ({1e3 / self.overlapped:.1f} frames/s) with several "
                "batches in flight"
            )
        if self.peak_bytes is not None:
            lines.append(f"  {self.peak_bytes / 2**20:.0f} MiB at the peak a picture in flight")
        total = sum(self.stages.values())
        lines += [
            f"  {ms:8.1f} ms {100 * ms / total:5.1f} %  {stage}"
            for stage, ms in self.stages.items()
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Table:
    """What was measured, printable."""

    title: str
    rows: list[Row] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([self.title, *map(str, self.rows)])


def bench_model(
    name: str,
    *,
    weights: WeightsFile | None = None,
    device: str = "auto",
    precision: str = "auto",
    sizes: Sequence[Size] = ((480, 640),),
    batch: int = 1,
    detections: int | Sequence[int] = 10,
    repeats: int = 5,
    input_size: tuple[int, int] | None = None,
    forwards: Sequence[str] = ("eager", "autocast"),
) -> Table:
    """Measure a model.

    Args:
        name: a Mask R-CNN of `pipeline.models.names()`.
        weights: as `pipeline.models.fetch_weights` gives them; None: random ones (speed does not
            depend on them).
        device: see `load_segmenter`.
        precision: of the engine.
        sizes: (height, width) of the pictures.
        batch: pictures handed over at once.
        detections: how many shall remain, or several such numbers.
        repeats: timed calls of each forward.
        input_size: (min_size, max_size) instead of the network's own.
        forwards: which of torchvision's to measure beside it: `eager`, `autocast`.

    Raises:
        ConfigError: a word that makes no sense.
        ModelError: weights or device are unusable.
    """
    placement = place(device, precision)
    network = network_for(name, weights)
    if input_size is not None:
        network.transform.min_size, network.transform.max_size = (input_size[0],), input_size[1]
    title = (
        f"{name}, {placement.reason}, {torch.get_num_threads()} threads, resize "
        f"{network.transform.min_size[-1]}/{network.transform.max_size}, "
        f"{network.rpn.post_nms_top_n()} proposals, uint8 frames on the host to runs on the host"
    )
    if name in NEEDS:
        rules = InputRules.of(network)
        precision = "fp16" if placement.device.type == "cpu" else placement.precision
        lines = (fits_on_cards(name, rules.padded(size), precision) for size in sizes)
        title = "\n".join([title, *lines])
    wanted = [detections] if isinstance(detections, int) else list(detections)
    rows = [
        _measure(network, placement, size, batch, count, repeats, forwards)
        for size in sizes
        for count in wanted
    ]
    return Table(title, rows)


def network_for(name: str, weights: WeightsFile | None = None) -> MaskRCNN:
    """A network in evaluation mode: with weights, or random but as a loaded one (frozen norms)."""
    if weights is not None:
        return load_network(name, weights)
    torch.manual_seed(0)
    network = build_network(name, num_classes=91, norm_layer=FrozenBatchNorm2d).eval()
    nn.init.normal_(network.roi_heads.box_predictor.cls_score.weight, std=0.05)
    return network.requires_grad_(False)


def to_torchvision(image: NDArray[np.uint8]) -> torch.Tensor:
    """A picture uint8 (H, W, 3) BGR as torchvision wants it: float32 (3, H, W) RGB in [0, 1]."""
    rgb = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))
    return torch.from_numpy(rgb).float() / 255.0


def noise(size: Size, count: int) -> Images:
    """Random pictures, always the same."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, 3), np.uint8) for _ in range(count)]


def threshold_for(network: MaskRCNN, placement: Placement, image: Any, count: int) -> float:
    """A score threshold that leaves about `count` detections in a picture."""
    if count == 0:
        return 1.0
    (found,) = Engine(network, placement, score_threshold=0.0).run([image])
    scores = found.scores
    if count >= len(scores):
        return 0.0
    return float(scores[count - 1] + scores[count]) / 2


def _measure(
    network: MaskRCNN,
    placement: Placement,
    size: Size,
    batch: int,
    detections: int,
    repeats: int,
    forwards: Sequence[str],
) -> Row:
    images = noise(size, batch)
    threshold = threshold_for(network, placement, images[0], detections)
    engine = Engine(network, placement, score_threshold=threshold)
    per_pass = batch if placement.device.type == "cuda" else 1

    def segment(stages: _Stages | None = None) -> list[Found]:
        found: list[Found] = []
        for first in range(0, batch, per_pass):
            part = engine.run(images[first : first + per_pass], None if stages is None else stages)
            for one in part:
                one.instances()
            found += part
            if stages is not None:
                stages(_RESULT_STAGE)
        return found

    held = _reserved(placement)
    count = sum(len(found.scores) for found in segment()) / batch
    times = [_seconds(segment) for _ in range(max(2, repeats))]
    overlapped = peak = None
    if engine.depth > 1:
        overlapped = overlapped_seconds(engine, images, 4 * repeats) * 1e3 / batch
        peak = (torch.cuda.max_memory_reserved() - held) // (batch * engine.depth)
    stages = _Stages(placement)
    for _ in range(max(2, repeats)):
        stages.begin()
        segment(stages)
    scale = 1e3 / batch
    return Row(
        size,
        batch,
        count,
        median(times) * scale,
        float(np.percentile(times, 99)) * scale,
        {
            f"torchvision {kind}": _torchvision(
                network, placement, images, threshold, kind, repeats
            )
            * scale
            for kind in forwards
        },
        {stage: median(values) * scale for stage, values in stages.times.items()},
        overlapped,
        peak,
    )


def overlapped_seconds(engine: Engine, images: Images, batches: int) -> float:
    """Seconds a batch, from uint8 to runs, with as many under way as the engine takes."""
    under_way: deque[Pass[list[Found]]] = deque()

    def finish() -> None:
        for found in under_way.popleft().result():
            found.instances()

    for _ in range(engine.depth):  # what is made once per lane is made
        engine.submit(images).settle()
    start = time.perf_counter()
    for _ in range(batches):
        if len(under_way) == engine.depth:
            finish()
        under_way.append(engine.submit(images))
    while under_way:
        finish()
    return (time.perf_counter() - start) / batches


def _reserved(placement: Placement) -> int:
    """Bytes of a GPU torch holds, as small as can be; its peak counts from now."""
    if placement.device.type != "cuda":
        return 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_reserved()


class _Stages:
    """Collects the time of each stage; waits for the GPU, so it is no part of other timings."""

    def __init__(self, placement: Placement) -> None:
        self.times: dict[str, list[float]] = {}
        self._cuda = placement.device.type == "cuda"
        self._last = 0.0

    def begin(self) -> None:
        """A call starts now: stages of several passes in it are added up."""
        for values in self.times.values():
            values.append(0.0)
        self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        if self._cuda:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.times.setdefault(stage, [0.0])[-1] += now - self._last
        self._last = now


def _torchvision(
    network: MaskRCNN,
    placement: Placement,
    images: Images,
    threshold: float,
    kind: str,
    repeats: int,
) -> float:
    """Median seconds of torchvision's forward, masks pasted; nan where it cannot run."""
    network.to(placement.device)
    network.roi_heads.score_thresh = threshold
    dtype = torch.float16 if placement.device.type == "cuda" else torch.bfloat16

    def forward() -> None:
        inputs = [to_torchvision(image).to(placement.device) for image in images]
        with torch.inference_mode(), _autocast(placement, dtype, kind == "autocast"):
            results = network(inputs)
        for result in results:
            result["masks"].cpu()

    try:
        forward()
    except RuntimeError:  # under autocast some versions have no operator for the number format
        return float("nan")
    return median(_seconds(forward) for _ in range(max(1, repeats // 2)))


@contextmanager
def _autocast(placement: Placement, dtype: torch.dtype, wanted: bool) -> Iterator[None]:
    with torch.autocast(placement.device.type, dtype=dtype, enabled=wanted):
        yield


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
