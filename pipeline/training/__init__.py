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
    output: Path | None = None,
    report: Callable[[str], None] | None = None,
    measure: bool = True,
) -> Path:
    """Render, train, export and measure; a run that was stopped goes on from its checkpoint.

    Leaves `weights.safetensors`, `log.csv`, `checkpoint.pth` and `figures.json` (mask AP on
    unseen streets) in the output folder.

    Args:
        config: a YAML file, or settings.
        output: the folder; None takes the one of the settings.
        report: called with a line of progress now and then; None logs them.
        measure: whether to compute mask AP at the end.

    Returns:
        The weights.

    Raises:
        ConfigError: the settings are wrong.
        ModelError: the training diverged.
    """
    from pipeline.training.settings import TrainSettings

    file = config if isinstance(config, Path) else None
    settings = config if isinstance(config, TrainSettings) else TrainSettings.read(config)
    from pipeline.training.run import run_training  # torch, once the settings are known to be right

    return run_training(settings, config=file, output=output, report=report, measure=measure)
