"""Writes weights as fp16 safetensors with everything a user of them must know inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.sources.street import LABELS
from pipeline.training.settings import TrainSettings

SCORE_THRESHOLD = 0.05


def export_weights(
    weights: Mapping[str, Tensor], path: Path, settings: TrainSettings, *, steps: int
) -> None:
    """Write `weights` as fp16, with model, labels and sizes as metadata and labels beside it.

    Raises:
        ModelError: a value is not finite, or too large for fp16.
    """
    halves: dict[str, Tensor] = {}
    for key, value in weights.items():
        if key.endswith("num_batches_tracked"):
            continue
        half = value.detach().cpu().to(torch.float16).contiguous()
        if not bool(torch.isfinite(half).all()):
            raise ModelError(f"{path}: {key} does not fit fp16; the training diverged")
        halves[key] = half
    labels = {str(class_id): name for class_id, name in LABELS.items()}
    metadata = {
        "model": settings.model.name,
        "labels": json.dumps(labels),
        "min_size": str(settings.model.min_size),
        "max_size": str(settings.model.max_size),
        "score_threshold": str(SCORE_THRESHOLD),
        "norm_eps": "1e-05",
        "data": (
            f"synthetic://street, seeds {settings.data.first_seed}.."
            f"{settings.data.first_seed + settings.data.seeds - 1}"
        ),
        "steps": str(steps),
        "license": "Apache-2.0",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(halves, path, metadata)
    path.chmod(0o644)  # safetensors leaves it to its owner alone
    beside = path.with_name(path.name + ".labels.json")
    beside.write_text(json.dumps(labels, indent=1) + "\n", "ascii")
