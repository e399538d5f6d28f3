"""Carry a run out and tell how it went: shared by `track`, `run` and `demo`."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipeline.cli.log_lines import JsonLines
from pipeline.cli.progress import ProgressLine
from pipeline.cli.sources import check_kept
from pipeline.cli.telling import say, says_json
from pipeline.config import Settings
from pipeline.secrets import hide_in_logs

if TYPE_CHECKING:
    from pipeline.plan import RunPlan
    from pipeline.stream import End, RunSummary


def execute(
    settings: Settings, *, quiet: bool, address: str | None = None, config: Path | None = None
) -> None:
    """Run, show progress, print the end of every stream.

    Args:
        settings: what to run.
        quiet: show troubles only.
        address: Ray cluster to join; None starts an own one.
        config: the file the settings were read from.

    Raises:
        typer.Exit: with the exit code of the run, unless that is 0.
        MaskstreamError: nothing was started.
    """
    from pipeline.plan.notes import notes
    from pipeline.plan.resolve import resolve

    log_to_stderr(quiet=quiet)
    plan = resolve(settings, config=config)
    check_kept(plan, str(config or "command line"))
    if not quiet:
        say(headline(plan, asked=settings.model.name, address=address))
        for note in notes(plan):
            say(note)
    summary = _run(plan, quiet=quiet, address=address)
    for end in summary.ends:
        tell(end, quiet=quiet)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)
    if not quiet and (folders := results_in(plan, summary.ends)):
        more = f" and {len(folders) - 3} more folders" if len(folders) > 3 else ""
        say(f"results in {', '.join(folders[:3])}{more}")


def results_in(plan: RunPlan, ends: Sequence[End]) -> list[str]:
    """The folders in which there is something of what was published, as seen from here."""
    published = {end.source_id for end in ends if end.counts.published}
    paths = [path for one in plan.streams if one.id in published for path in one.outputs]
    folders = {p if os.path.isdir(p) else os.path.dirname(p) for p in paths if os.path.exists(p)}
    seen = {folder: os.path.relpath(folder) for folder in sorted(folders)}
    return [folder if name.startswith("..") else name for folder, name in seen.items()]


def headline(
    plan: RunPlan,
    *,
    asked: str | None = None,
    address: str | None = None,
    streams: int | None = None,
) -> str:
    """One line: what will run where, in which batches, and on a CPU how long a frame will take.

    Args:
        plan: of the run.
        asked: the model somebody named.
        address: of a Ray that is joined.
        streams: how many there will be, where that is not in the plan.
    """
    from pipeline import models

    model = plan.model
    text = f"{len(plan.streams) if streams is None else streams} source(s), {model.name}"
    if model.weights is not None:
        text += f" with weights {model.weights}"
    text += ", on Ray" if plan.executor == "ray" else ", in one process"
    if model.device != "cpu" and models.gpu_present():
        return text if address else text + batches(plan)
    seconds = seconds_per_frame(model.name, cores=len(os.sched_getaffinity(0)))
    if seconds > 0.2:
        text += f"; on this CPU about {seconds:.1f} s a frame"
    if seconds > 0.5 and asked is None:
        text += f" (--model {models.DEFAULT_ON_CPU} takes about half)"
    return text


BUCKET = (800, 1344)
"""What a picture of 16:9 becomes under the family's own resize rule."""


def batches(plan: RunPlan) -> str:
    """How many pictures will go together on the GPUs here; empty where that is not known."""
    from pipeline.models import named
    from pipeline.models.shared.cards import cards
    from workers.scaling import fleet

    found = cards(os.environ.get("CUDA_VISIBLE_DEVICES"))
    model = plan.model
    largest_batch = named(model.name).family.largest_batch
    if not found or largest_batch is None:
        return ""
    card = min(found, key=lambda card: card.free_bytes)
    segment = plan.workers.segment if plan.executor == "ray" else 1
    share = fleet(segment, gpus=len(found), cores=1).gpus_each
    precision = "fp16" if model.precision == "auto" else model.precision
    free = share * card.free_bytes
    most = largest_batch(model.name, BUCKET, precision, free, threshold=model.score_threshold)
    size = f"{BUCKET[0]}x{BUCKET[1]}"
    where = f"on {card.name} ({card.total_bytes / 1e9:.0f} GB, {card.free_bytes / 1e9:.0f} free)"
    if not most:
        return f"; not one picture of {size} is expected to fit {where}"
    return f"; batches of {min(model.max_batch, most)} of at most {most} {where}, {size}"


def seconds_per_frame(model: str, *, cores: int) -> float:
    """A rough guess for a CPU, from operations and what a core manages; 0 where unknown."""
    from pipeline import models

    with open("/proc/cpuinfo", encoding="utf-8") as info:
        flags = info.read()
    gflops_per_core = 400 if "amx_bf16" in flags else 150 if "avx512_bf16" in flags else 60
    return models.named(model).gflop_per_frame / (gflops_per_core * cores)


def tell(end: End, *, quiet: bool) -> None:
    """One line an ended stream; troubles are told even when asked to be quiet."""
    counts, outcome = end.counts, end.outcome
    lost = {**counts.dropped, **counts.failed}
    text = f"{end.source_id}: {outcome.status}, {counts.published} of {counts.captured} frames"
    if lost:
        text += " (" + ", ".join(f"{cause} {count}" for cause, count in lost.items()) + ")"
    if counts.decode_errors:
        text += f", {counts.decode_errors} damaged packets"
    if outcome.reason:
        text += f": {outcome.reason}"
    lines = []
    if end.exit_code != 0 or not quiet:
        lines.append(text)
    for name, reason in end.sink_errors.items():
        if reason != outcome.reason:
            lines.append(f"{end.source_id}: sink {name}: {reason}")
    if end.bug and end.bug != outcome.reason:
        lines.append(f"{end.source_id}: {end.bug}")
    for line in lines:
        say(line)


def _run(plan: RunPlan, *, quiet: bool, address: str | None) -> RunSummary:
    stop, abort = threading.Event(), threading.Event()
    if plan.executor == "local":
        return _run_local(plan, stop, abort, quiet=quiet)
    from workers.running import run as run_on_ray

    with ProgressLine(quiet=quiet) as progress:
        return run_on_ray(
            plan,
            address=address,
            on_progress=progress,
            stop=stop,
            abort=abort,
            may_leave=True,
        )


def _run_local(
    plan: RunPlan, stop: threading.Event, abort: threading.Event, *, quiet: bool
) -> RunSummary:
    from pipeline.metrics.counts import RunCounts
    from pipeline.runner import run_local
    from workers.answering import answering
    from workers.signals import drained_by_signals

    latest = RunCounts()

    def on_progress(counts: RunCounts) -> None:
        nonlocal latest
        latest = counts
        progress(counts)

    drained = drained_by_signals(stop, abort, end_now=partial(os._exit, 1))
    served = answering(plan.metrics_host, plan.metrics_port, counts=lambda: latest)
    with ProgressLine(quiet=quiet) as progress, served, drained:
        return run_local(plan, on_progress=on_progress, stop=stop, abort=abort)


def log_to_stderr(*, quiet: bool) -> None:
    """Warnings and worse, or errors alone, as one line each without secrets."""
    hide_in_logs()
    logging.basicConfig(
        level=logging.ERROR if quiet else logging.WARNING,
        format="%(levelname)s %(message)s",
        stream=sys.stderr,
    )
    if says_json():
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonLines())
