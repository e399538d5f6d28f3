"""One training run from settings to weights: rendering beside it, the loop, export, measuring."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
from safetensors.torch import load_file

from pipeline.errors import MaskstreamError
from pipeline.training.data import FrameStore
from pipeline.training.export import export_weights
from pipeline.training.loop import Trainer
from pipeline.training.measure import mask_ap, network_to_judge, unseen_frames
from pipeline.training.settings import DataSettings, TrainSettings

log = logging.getLogger(__name__)

ENOUGH_TO_START = 400
"""Frames that must stand before the first step; the rest is rendered beside the training."""


def run_training(
    config: Path | TrainSettings,
    *,
    report: Callable[[dict[str, float]], None] | None = None,
    measure: bool = True,
) -> dict[str, float]:
    """See `pipeline.training.train`."""
    settings = config if isinstance(config, TrainSettings) else TrainSettings.read(config)
    store = FrameStore(settings.data)
    with rendering_beside(store, settings.data):
        trainer = Trainer(settings, store)
        trainer.run(report)
    path = Path(settings.output) / "weights.safetensors"
    export_weights(trainer.average.state, path, settings, steps=trainer.step)
    if not measure:
        return {}
    figures = mask_ap(network_to_judge(settings, load_file(path)), unseen_frames(settings))
    log.info("mask AP on unseen streets: %s", figures)
    return figures


@contextmanager
def rendering_beside(store: FrameStore, settings: DataSettings) -> Iterator[None]:
    """Render what is missing in a process of its own; enter when enough stands to begin.

    Raises:
        MaskstreamError: the rendering process died.
    """
    if store.complete:
        yield
        return
    process = multiprocessing.get_context("spawn").Process(
        target=render_all, args=(settings,), name="street-renderer", daemon=True
    )
    process.start()
    try:
        wanted = min(ENOUGH_TO_START, settings.seeds * settings.frames_per_seed)
        while store.reload() < wanted:
            process.join(timeout=0.2)
            if process.exitcode not in (None, 0):
                raise MaskstreamError(
                    f"rendering training frames into {settings.cache} failed with exit code "
                    f"{process.exitcode}; the lines above say why"
                )
        yield
    finally:
        process.terminate()  # rendering can go on at any frame, the next run continues it
        process.join()


def render_all(settings: DataSettings) -> None:
    """What the rendering process does."""
    cv2.setNumThreads(1)
    began = time.monotonic()
    FrameStore(settings).render()
    log.info("all frames rendered after %.0f s", time.monotonic() - began)
