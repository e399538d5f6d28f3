"""One training run from settings to weights: rendering beside it, the loop, export, measuring."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigError, MaskstreamError
from pipeline.formats.whole import refuse_no_file
from pipeline.models.mask_rcnn.weights import load_network
from pipeline.models.shared.files import read_weights
from pipeline.plan.inventory import Use, keep_apart
from pipeline.sinks.destination import refuse_unready
from pipeline.training.checkpoint import CHECKPOINT
from pipeline.training.data import CACHED, FrameStore, refuse_other_frames, render_all
from pipeline.training.export import export_weights
from pipeline.training.loop import Trainer
from pipeline.training.measure import mask_ap, unseen_frames
from pipeline.training.settings import DataSettings, TrainSettings

log = logging.getLogger(__name__)

WRITTEN = (
    *(CHECKPOINT, "checkpoint.tmp", "log.csv"),
    *("weights.safetensors", "weights.safetensors.labels.json", "figures.json"),
)
"""What a training leaves in its folder."""

ENOUGH_TO_START = 400
"""Frames that must stand before the first step; the rest is rendered beside the training."""


def run_training(
    settings: TrainSettings,
    *,
    config: Path | None = None,
    output: Path | None = None,
    report: Callable[[str], None] | None = None,
    measure: bool = True,
) -> Path:
    """See `pipeline.training.train`."""
    if output is not None:
        settings = settings.model_copy(update={"output": str(output)})
    say = report or log.info
    _refuse_foreign(settings, config)
    try:
        return _trained(settings, say, measure=measure)
    except OSError as error:
        where = error.filename or settings.output
        raise ConfigError(f"{where}: cannot be written: {error.strerror}") from error


def _trained(settings: TrainSettings, say: Callable[[str], None], *, measure: bool) -> Path:
    trainer = Trainer(settings)  # device, network and checkpoint: before anything is rendered
    store = FrameStore(settings.data)
    with rendering_beside(store, settings.data):
        trainer.run(store, lambda row: say(progress_line(row, settings.optimiser.steps)))
    path = Path(settings.output) / "weights.safetensors"
    export_weights(trainer.average.state, path, settings, steps=trainer.step)
    if measure:
        network = load_network(settings.model.name, read_weights(str(path)))
        figures = mask_ap(network, unseen_frames(settings))
        text = json.dumps({key: round(value, 4) for key, value in figures.items()}, indent=1)
        path.with_name("figures.json").write_text(text + "\n", "ascii")
        say(f"mask AP on unseen streets: {figures['AP']:.3f}")
    return path


def _refuse_foreign(settings: TrainSettings, config: Path | None) -> None:
    """Refuse to write over the configuration, or over files no training here has left."""
    output, cache = Path(settings.output), Path(settings.data.cache)
    written = [output / name for name in WRITTEN]
    rendered = [cache / name for name in CACHED]
    read = [Use(str(config), "the configuration")] if config else []
    keep_apart(read, [Use(str(path), "the training") for path in [*written, *rendered]])
    for folder in (output, cache):
        refuse_unready(os.path.abspath(folder), folder=True)
    for path in (*written, *rendered):
        refuse_no_file(path)
    refuse_other_frames(settings.data)
    there = [path for path in written if os.path.lexists(path)]
    if there and not os.path.lexists(output / CHECKPOINT):
        raise ConfigError(
            f"{there[0]}: exists already, and {output} holds no {CHECKPOINT} of a training to go "
            "on with; name another --output"
        )


def progress_line(row: Mapping[str, float], steps: int) -> str:
    """A line of the log for a terminal."""
    left = row["seconds"] / row["step"] * (steps - row["step"])
    return f"step {row['step']:.0f} of {steps}, loss {row['loss']:.3f}, {left / 60:.0f} min left"


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
