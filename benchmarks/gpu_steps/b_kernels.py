"""Step b: every kernel against its twin, its time, and whether cuDNN fuses and graphs are taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.gpu_steps import planting
from benchmarks.gpu_steps.checks import graphs_are_recorded_and_replayed
from benchmarks.gpu_steps.kernel_cases import cases
from benchmarks.gpu_steps.rig import Rig
from pipeline.models.mask_rcnn.engine.operators import (
    nms_triton,
    preprocess_triton,
    roi_align_triton,
    runs_triton,
)
from pipeline.models.mask_rcnn.engine.operators.preprocess import InputRules
from pipeline.models.mask_rcnn.engine.operators.roi_align import make_layout
from pipeline.models.shared.cudnn import cudnn_usable

Timed = tuple[str, Callable[[], object], float]
"""Name, one launch, and the bytes it has to move."""


def run(rig: Rig) -> None:
    """Graphs; kernels; then times. A wrong kernel fails the step after all others were tried."""
    graphs_are_recorded_and_replayed(rig)
    rig.found("CUDA graphs", "taken")
    wrong = []
    for kernel, name, check in cases():
        try:
            check(rig.device)
        except Exception as error:  # noqa: BLE001 - a compiler may fail in any way
            wrong.append(f"{kernel} ({name}): {error}".partition("\n")[0])
            rig.found(f"{kernel}: {name}", f"WRONG: {error}")
        else:
            rig.found(f"{kernel}: {name}", "its twin's answer")
    try:
        if not rig.dry:
            rig.found("cuDNN fuses fp16", cudnn_usable(rig.device, torch.float16))
        _times(rig)
    except Exception:
        if not wrong:  # a kernel that reads beside its memory loses the device
            raise
    if wrong:
        raise AssertionError("; ".join(wrong))
    if not rig.dry:
        _registers(rig)


def _times(rig: Rig) -> None:
    """Of each kernel alone, and of a call with all around it."""
    bandwidth = rig.bandwidth()
    kernels = {name for module in planting.modules() for name in planting.kernels(module)}
    for name, launch, moved in timed(rig):
        a_call = rig.seconds_of(launch)
        own = rig.kernel_seconds_of(launch, kernels) or a_call
        share = 100 * moved / bandwidth / own
        rig.found(
            f"{name}, µs",
            f"{own * 1e6:.1f} on the device ({share:.0f} % of the bandwidth), "
            f"{a_call * 1e6:.1f} a call with all around it",
        )


def _registers(rig: Rig) -> None:
    """Of the kernels for this very card."""
    from benchmarks.gpu_steps.compiled import compile_for

    major, minor = torch.cuda.get_device_capability()
    for compiled in compile_for(10 * major + minor):
        rig.found(f"compiled {compiled.kernel} ({compiled.variant})", str(compiled))


def timed(rig: Rig) -> Iterator[Timed]:
    """One launch of each kernel as in a pass of 8 pictures of 800×1344 with 100 detections each."""
    device, dtype = rig.device, torch.float16
    batch = rig.size(8, 1)
    picture = rig.size((1080, 1920), (6, 4))
    rules = InputRules(*rig.size((800, 1333), (4, 8)), (0.4,) * 3, (0.2,) * 3)
    images = [np.zeros((*picture, 3), np.uint8)] * batch
    out = math.prod(rules.padded(picture)) * 3 * 2
    moved = batch * (math.prod(picture) * 3 + out)
    yield "prepare", lambda: preprocess_triton.prepare(images, rules, dtype, device), moved

    count, rows = rig.size(1000, 4), rig.size(5, 1) * batch
    corner = torch.rand(rows, count, 2, device=device) * 1000
    boxes = torch.cat([corner, corner + torch.rand(rows, count, 2, device=device) * 300], dim=2)
    groups = torch.zeros(rows, count, dtype=torch.int64, device=device)
    scores = torch.linspace(1, 0.5, count, device=device).repeat(rows, 1)
    moved = rows * count * (28 + 2 * count / 8)
    yield "nms", lambda: nms_triton.nms(boxes, groups, scores, 0.7, 1, count), moved

    shapes = rig.size([(200, 336), (100, 168), (50, 84), (25, 42)], [(4, 6), (2, 3)])
    layout = make_layout(shapes, batch, device)
    channels = rig.size(256, 4)
    cells = batch * sum(h * w for h, w in shapes)
    table = torch.randn(cells, channels, device=device).to(rig.size(dtype, torch.float32))
    for bins, regions in rig.size(((7, 1000), (14, 100)), ((1, 1),)):
        few = boxes[0, :regions].repeat(batch, 1)
        pictures = torch.arange(batch, device=device).repeat_interleave(regions)
        moved = min(cells, 16 * bins**2 * len(few)) * channels * 2 + len(few) * bins**2 * 512
        yield (
            f"roi_align of {bins} bins",
            lambda few=few, pictures=pictures, bins=bins: roi_align_triton.roi_align(  # type: ignore[misc]
                table, layout, few, pictures, bins
            ),
            moved,
        )

    found = rig.size(100, 1) * batch
    masks = torch.rand(found, 28, 28, device=device)
    at = boxes.view(-1, 4)[:found].contiguous()
    sizes = torch.tensor([picture] * found, dtype=torch.int32, device=device)
    room = 1024 * found
    launch = lambda: runs_triton.paste(masks, at, sizes, picture[1], room)  # noqa: E731
    yield "paste", launch, found * 28 * 28 * 4 + room * 4
