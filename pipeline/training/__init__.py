"""Trains the small network on the synthetic street; the bundled `demo` weights came from here.

This registry is light: torch is imported when training starts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.training.settings import TrainSettings

__all__ = ["train"]


def train(
    config: Path | TrainSettings,
    *,
    report: Callable[[dict[str, float]], None] | None = None,
    measure: bool = True,
) -> dict[str, float]:
    """Render, train, export and measure; a run that was stopped goes on from its checkpoint.

    Leaves `log.csv`, `checkpoint.pth` and `weights.safetensors` in the output folder.

    Args:
        config: a YAML file, or settings.
        report: called with every line of the log.
        measure: whether to compute mask AP on unseen streets at the end.

    Returns:
        The measured figures, see `measure.mask_ap`; empty without `measure`.

    Raises:
        ConfigError: the settings are wrong.
        ModelError: the training diverged.
    """
    from pipeline.training.run import run_training

    return run_training(config, report=report, measure=measure)
