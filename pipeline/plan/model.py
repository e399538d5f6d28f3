"""`ModelPlan`: which network segments the frames, and how."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from pipeline import models
from pipeline.stages import ModelInfo

SIGNED_BY = 12
"""Digits of the digest of the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """One model, the same in every worker that loads it. The labels it has come with it."""

    name: str
    weights: str | None
    """A word such as `COCO_V1`, or a path; None for a model that has none."""
    digest: str | None = None
    """SHA-256 of weights on this machine's disk; None before `prepare`, and for published ones."""
    device: str = "auto"
    precision: str = "auto"
    score_threshold: float = 0.1
    max_batch: int = 8
    """Pictures that go through the network at once."""
    threads: int | None = None
    """CPU threads of torch; None leaves torch's setting. Decided where the cores are known."""
    signed: bool = False
    """Records say whose weights they are of, too: the run has, or has had, another model."""
    onnx: tuple[tuple[str, Any], ...] = ()
    """`model.onnx` of the settings, sorted by name."""

    @property
    def identity(self) -> tuple[str, str | None, str, float]:
        """What results depend on: weights by content, so that a copy elsewhere is the same."""
        known = None if models.is_bundled(self.weights) else self.digest
        if self.onnx:  # other sizes and means find other things
            known = f"{known or self.weights} {json.dumps(self.onnx)}"
        return self.name, known or self.weights, self.precision, self.score_threshold

    def named(self, info: ModelInfo) -> ModelInfo:
        """What is loaded, called as records are to call it."""
        if not self.signed or not info.sha256:
            return info
        return replace(info, name=f"{info.name}@{info.sha256[:SIGNED_BY]}")
