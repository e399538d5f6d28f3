"""Step d: frames/s, latency, memory and share of the roofline, beside torchvision; where time goes.

The most telling rows come first: what the budget cuts off is the least of them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torchvision.models.detection import MaskRCNN

from benchmarks.gpu_steps.rig import Image, Rig, shrunk
from benchmarks.roofline import cost
from pipeline.models.mask_rcnn.bench import (
    _Stages,
    network_for,
    noise,
    overlapped_seconds,
    threshold_for,
    to_torchvision,
)
from pipeline.models.mask_rcnn.engine.engine import Engine

NAME = "maskrcnn_resnet50_fpn"
DETECTIONS = 100


def run(rig: Rig) -> None:
    """Sizes and batches, torchvision's forwards, stages, costliest kernels."""
    began = time.perf_counter()
    network = _network(rig)
    ceilings = _ceilings(rig)
    sizes = rig.size(((800, 1344), (480, 640)), ((96, 160),))
    for size in sizes:
        threshold = _threshold(rig, network, size)
        for batch in rig.size((8, 16, 1, 32), (1, 2)):
            try:
                _row(rig, network, size, batch, threshold, ceilings)
            except torch.OutOfMemoryError as error:
                rig.found(f"{_name(size, batch)}", f"does not fit: {error}".partition("\n")[0])
    threshold = _threshold(rig, network, sizes[0])
    images = noise(sizes[0], rig.size(8, 1))
    _where_time_goes(rig, network, images, threshold)
    _torchvision(rig, network, images, threshold, began)


def _threshold(rig: Rig, network: MaskRCNN, size: tuple[int, int]) -> float:
    """With which there are as many detections as wanted; the network takes that size as it is."""
    rule = rig.size((min(size), max(size)), (96, 192))
    network.transform.min_size, network.transform.max_size = (rule[0],), rule[1]
    picture, wanted = noise(size, 1)[0], rig.size(DETECTIONS, 2)
    return threshold_for(network, rig.placement("fp16"), picture, wanted)


def _name(size: tuple[int, int], batch: int) -> str:
    return f"{size[0]}x{size[1]}, batch {batch}"


def _network(rig: Rig) -> MaskRCNN:
    if not rig.dry:
        return network_for(NAME)
    return shrunk(network_for("maskrcnn_resnet18_fpn"), proposals=20, detections=4)


def _ceilings(rig: Rig) -> tuple[float, float]:
    side = rig.size(8192, 64)
    a = torch.randn(side, side, device=rig.device).to(rig.size(torch.float16, torch.float32))
    tflops = 2 * side**3 / rig.seconds_of(lambda: a @ a) / 1e12
    return tflops, rig.bandwidth() / 1e12


def _row(
    rig: Rig,
    network: MaskRCNN,
    size: tuple[int, int],
    batch: int,
    threshold: float,
    ceilings: tuple[float, float],
) -> None:
    name, images = _name(size, batch), noise(size, batch)
    gc.collect()  # engines are cycles, and hold memory of the device
    if not rig.dry:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    engine = rig.engine(network, threshold=threshold)
    detections = sum(len(found.scores) for found in engine.run(images)) / batch
    times = [_seconds(lambda: _all(engine, images)) for _ in range(rig.size(30, 1))]
    p50, p99 = (1e3 * float(np.percentile(times, q)) for q in (50, 99))
    rig.found(
        f"{name}, one under way",
        f"{1e3 * batch / p50:.1f} frames/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms a batch, "
        f"{detections:.0f} detections a picture",
    )
    several = overlapped_seconds(engine, images, rig.size(40, 2)) / batch
    need = cost(
        _shapes(rig, network),
        engine.input_rules.padded(size),
        proposals=network.rpn.post_nms_top_n(),
        detections=round(detections),
        batch=batch,
        tflops=ceilings[0],
        tb_per_s=ceilings[1],
    )
    rig.found(
        f"{name}, {engine.depth} under way",
        f"{1 / several:.1f} frames/s, {100 * need.floor_ms / several / 1e3:.0f} % of the roofline "
        f"of {need.floor_ms:.3f} ms",
    )
    if not rig.dry:
        peak = torch.cuda.max_memory_reserved() / batch / engine.depth
        rig.found(f"{name}, memory", f"{peak / 2**20:.0f} MiB a picture under way, weights in it")
    engine.forget()


def _shapes(rig: Rig, network: MaskRCNN) -> MaskRCNN:
    with torch.device("meta"):
        return network_for("maskrcnn_resnet18_fpn" if rig.dry else NAME)


def _all(engine: Engine, images: list[Image]) -> None:
    for found in engine.run(images):
        found.instances()


def _where_time_goes(rig: Rig, network: MaskRCNN, images: list[Image], threshold: float) -> None:
    engine = rig.engine(network, threshold=threshold)
    stages = _Stages(replace(engine.placement))
    for _ in range(rig.size(10, 1)):
        stages.begin()
        engine.run(images, stages)
    for stage, values in stages.times.items():
        rig.found(f"stage {stage}, ms a picture", 1e3 * min(values) / len(images))
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU if rig.dry else activity.CUDA]) as told:
        for _ in range(rig.size(3, 1)):
            engine.run(images)
        rig.wait()
    which = "self_cpu_time_total" if rig.dry else "self_device_time_total"
    events = sorted(told.key_averages(), key=lambda event: -getattr(event, which))
    total = sum(getattr(event, which) for event in events) or 1
    for number, event in enumerate(events[:10], 1):
        share = 100 * getattr(event, which) / total
        rig.found(f"costliest {number}", f"{share:.1f} %, {event.count} calls: {event.key[:100]}")


def _torchvision(
    rig: Rig, network: MaskRCNN, images: list[Image], threshold: float, began: float
) -> None:
    network.to(rig.device)
    network.roi_heads.score_thresh = threshold
    half = rig.size(torch.float16, torch.bfloat16)
    dense = network.backbone.forward

    def forward(cast: bool) -> Any:
        inputs = [to_torchvision(image).to(rig.device) for image in images]
        context = torch.autocast(rig.device.type, dtype=half) if cast else nullcontext()
        with torch.inference_mode(), context:
            results = network(inputs)
        return [result["masks"].cpu() for result in results]

    kinds: list[tuple[str, bool, float, Callable[[], object]]] = [
        ("eager fp32", False, 8, lambda: None),
        ("autocast", True, 8, lambda: None),
        ("autocast, channels_last", True, 8, lambda: network.to(memory_format=torch.channels_last)),
        ("autocast, channels_last, torch.compile", True, 60, lambda: _compile(rig, network, dense)),
    ]
    for name, cast, takes_s, prepare in kinds:
        if time.perf_counter() - began + rig.size(takes_s, 0) > rig.seconds:
            rig.found(f"torchvision {name}", "no time left")
            continue
        try:
            prepare()
            forward(cast)
            seconds = min(_seconds(lambda: forward(cast)) for _ in range(rig.size(3, 1)))  # noqa: B023
        except Exception as error:  # noqa: BLE001 - it is torchvision's; ours goes on
            rig.found(f"torchvision {name}", str(error).partition("\n")[0])
            continue
        rig.found(f"torchvision {name}, frames/s", len(images) / seconds)
    network.backbone.forward = dense
    network.to("cpu", memory_format=torch.contiguous_format)


def _compile(rig: Rig, network: MaskRCNN, dense: Any) -> None:
    """Its dense part only: the rest breaks the graph at every loop."""
    network.backbone.forward = torch.compile(dense, backend=rig.size("inductor", "eager"))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
