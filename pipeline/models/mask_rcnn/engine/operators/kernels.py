"""Which form of each operation runs on a device: a GPU kernel, or its twin in plain torch.

A kernel is used only after it has given its twin's answer to a small problem on the very device, to
the last bit of what the twin says on a CPU; where it cannot be compiled or answers otherwise, the
twin runs and a warning says so.
"""

from __future__ import annotations

import atexit
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.masks import Masks
from pipeline.masks.toggles import masks_of
from pipeline.models.mask_rcnn.engine.operators.nms import Nms, nms
from pipeline.models.mask_rcnn.engine.operators.preprocess import InputRules, prepare
from pipeline.models.mask_rcnn.engine.operators.roi_align import make_layout, roi_align

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kernels:
    """One form of each operation."""

    prepare: Callable[..., Any] = prepare
    nms: Nms = nms
    roi_align: Callable[..., Tensor] = roi_align
    paste: Callable[..., tuple[Tensor, Tensor]] | None = None
    """None: probabilities go to the host and are pasted there."""


def kernels_for(device: torch.device) -> Kernels:
    """The fastest forms that are right on `device`."""
    chosen = Kernels()
    if device.type != "cuda":
        return chosen
    try:
        from pipeline.models.mask_rcnn.engine.operators import (
            nms_triton,
            preprocess_triton,
            roi_align_triton,
            runs_triton,
        )
    except ImportError as error:
        _log.warning("no GPU kernels: %s; pip install triton makes it faster", error)
        return chosen
    _keep_compiled_where_one_may()
    candidates: tuple[tuple[str, Any, Callable[..., bool]], ...] = (
        ("prepare", preprocess_triton.prepare, _prepare_agrees),
        ("nms", nms_triton.nms, _nms_agrees),
        ("roi_align", roi_align_triton.roi_align, _roi_align_agrees),
        ("paste", runs_triton.paste, _paste_agrees),
    )
    with torch.cuda.device(device):  # Triton launches on the current one
        for name, kernel, agrees in candidates:
            if _usable(name, kernel, agrees, device):
                chosen = replace(chosen, **{name: kernel})
    return chosen


def _keep_compiled_where_one_may() -> None:
    """In a folder of this process, where Triton's own (in HOME) cannot be written."""
    from triton import knobs

    try:
        os.makedirs(knobs.cache.dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=knobs.cache.dir):
            return
    except OSError:
        own = tempfile.TemporaryDirectory(prefix="maskstream-triton-")
        atexit.register(own.cleanup)
        knobs.cache.dir = own.name


def _usable(
    name: str,
    kernel: Callable[..., Any],
    agrees: Callable[[Callable[..., Any], torch.device], bool],
    device: torch.device,
) -> bool:
    try:
        if agrees(kernel, device):
            return True
        reason = "its answer differs from plain torch"
    except Exception as error:  # noqa: BLE001 - a compiler may fail in any way; the twin still runs
        reason = str(error).partition("\n")[0]
    _log.warning("GPU kernel %s is not used on %s: %s", name, device, reason)
    return False


def _prepare_agrees(kernel: Callable[..., Any], device: torch.device) -> bool:
    generator = np.random.default_rng(0)
    rules = InputRules(40, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    images = [generator.integers(0, 256, (*s, 3), np.uint8) for s in ((50, 70), (40, 60))]
    ours = kernel(images, rules, torch.float32, device)
    return torch.equal(ours.pixels.cpu(), prepare(images, rules, torch.float32).pixels)


def _nms_agrees(kernel: Callable[..., Any], device: torch.device) -> bool:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(4, 300, 2, generator=generator) * 60
    size = torch.rand(4, 300, 2, generator=generator) * 40 + 1
    scores = torch.rand(4, 300, generator=generator).sort(descending=True).values
    groups = torch.randint(0, 3, (4, 300), generator=generator)
    groups[0] = 1
    problem = (torch.cat([corner, corner + size], dim=2), groups, scores)
    ours = kernel(*(tensor.to(device) for tensor in problem), 0.5, 1, 300)
    return torch.equal(ours.cpu(), nms(*problem, 0.5, 1, 300))


def _roi_align_agrees(kernel: Callable[..., Any], device: torch.device) -> bool:
    """With unit vectors as features the pooled numbers are the taps' weights, to the last bit."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(12, 16), (6, 8), (3, 4), (2, 2)]
    table = torch.eye(2 * sum(height * width for height, width in shapes))
    corner = torch.rand(60, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + torch.rand(60, 2, generator=generator) ** 3 * 600], dim=1)
    problem = (boxes, torch.arange(60) % 2)
    there = (tensor.to(device) for tensor in problem)
    ours = kernel(table.to(device), make_layout(shapes, 2, device), *there, 7)
    theirs = roi_align(table, make_layout(shapes, 2, torch.device("cpu")), *problem, 7)
    return torch.equal(ours.cpu(), theirs)


def _paste_agrees(kernel: Callable[..., Any], device: torch.device) -> bool:
    generator = np.random.default_rng(0)
    size = (60, 90)
    probabilities = generator.random((20, 28, 28), np.float32)
    corner = generator.random((20, 2), np.float32) * 70 - 10
    boxes = np.concatenate([corner, corner + generator.random((20, 2), np.float32) * 60], axis=1)
    sizes = torch.tensor([size] * 20, dtype=torch.int32, device=device)
    toggles, counts = kernel(
        torch.from_numpy(probabilities).to(device),
        torch.from_numpy(boxes).to(device),
        sizes,
        size[1],
        1 << 16,
    )
    ours = masks_of(toggles.cpu().numpy(), counts.cpu().numpy(), size)
    return bool((ours.dense() == Masks.paste(probabilities, boxes, size).dense()).all())
