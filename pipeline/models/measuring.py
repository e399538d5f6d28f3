"""What a model costs on this machine, in a process of its own: time, time to runs, memory."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from pipeline import models
from pipeline.arrays import Image
from pipeline.errors import MaskstreamError, ModelError
from pipeline.models.shared.threads import before_torch
from pipeline.stages import Segmenter

NONE = 1.0
"""A score nothing is above."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one model on one picture."""

    name: str
    weights: str
    """What was loaded: a word, a path, or `random`."""
    instances: int
    ms: float
    """A picture to its instances, median."""
    ms_to_runs: float
    """How much of that is there only if there are instances: their masks, and these to runs."""
    peak_mb: float
    """Memory of the process at its peak, less what it had before the model was loaded."""


def cost(
    name: str, weights: str | None, image: Image, wanted: int, repeats: int, **how: Any
) -> Cost:
    """Measure a model in a fresh process.

    Args:
        name: as `--model` takes it.
        weights: as `--weights` takes it; None: the model's own where they are here, else random.
        image: uint8 (H, W, 3) BGR.
        wanted: instances the score threshold leaves, where there are so many.
        repeats: timed calls.
        how: `device`, `precision` and `threads` of `pipeline.models.load_segmenter`.

    Raises:
        MaskstreamError: it cannot be loaded, or fails on the picture; or its process has ended.
    """
    asked = pickle.dumps((name, weights, image, wanted, repeats, how))
    done = subprocess.run(  # noqa: S603 - ourselves; -P: what lies in the folder is not meant
        [sys.executable, "-P", "-c", f"from {__name__} import _answer; _answer()"],
        input=asked, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ModelError(f"model {name}: its process ended: {''.join(said[-1:])[:200]}")
    found: Cost | MaskstreamError = pickle.loads(done.stdout)  # noqa: S301 - ourselves
    if isinstance(found, MaskstreamError):
        raise found
    return found


def _answer() -> None:
    """The process that measures: told by standard input, heard on standard output."""
    before_torch()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        found: Cost | MaskstreamError = _measured(*pickle.load(sys.stdin.buffer))  # noqa: S301
    except MaskstreamError as error:
        found = error
    with out:
        pickle.dump(found, out)


def measurable() -> list[str]:
    """Names of the catalogue that can be measured with what is here, random weights included."""
    return [
        name
        for name, model in models.MODELS.items()
        if not model.family.needs_weights or model.weights == "demo" or name.startswith(_RANDOM)
    ]


_RANDOM = ("maskrcnn_", "cascade_", "pointrend_", "yolact_", "solov2_resnet", "condinst_")


def _measured(
    name: str, weights: str | None, image: Image, wanted: int, repeats: int, how: dict[str, Any]
) -> Cost:
    before = _peak_mb()
    named, word = _loaded_as(name, weights)

    def load(threshold: float) -> Segmenter:
        if word != "random":
            return models.load_segmenter(named, weights=word, score_threshold=threshold, **how)
        from pipeline.models.untrained import untrained

        return untrained(named, score_threshold=threshold, **how)

    some = load(_threshold(load(0.0), image, wanted))
    full = _ms(some, [image], repeats)
    found = len(some.segment([image])[0])
    some.close()
    none = load(NONE)
    empty = _ms(none, [image], repeats)
    return Cost(named, word or "none", found, full, max(0.0, full - empty), _peak_mb() - before)


def _loaded_as(name: str, weights: str | None) -> tuple[str, str | None]:
    """The model, and which weights are here for it."""
    first = name.partition(":")[0]
    model = models.named(name)
    given = weights is not None or ":" in name or not model.family.needs_weights
    if not given and model.weights != "demo" and first.startswith(_RANDOM):
        return name, "random"
    return models.choose(name, weights)


def _threshold(segmenter: Segmenter, image: Image, wanted: int) -> float:
    """A score that leaves about as many instances as are wanted."""
    try:
        scores = sorted(segmenter.segment([image])[0].scores.tolist(), reverse=True)
    finally:
        segmenter.close()
    if wanted >= len(scores):
        return 0.0
    return (scores[wanted - 1] + scores[wanted]) / 2 if wanted else NONE


def _ms(segmenter: Segmenter, images: Sequence[Image], repeats: int) -> float:
    segmenter.segment(images)  # what is made once
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        segmenter.segment(images)
        times.append(1e3 * (time.perf_counter() - began))
    return median(times)


def _peak_mb() -> float:
    with open("/proc/self/status", encoding="utf-8") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def lines_of(costs: Sequence[Cost | tuple[str, MaskstreamError]]) -> list[str]:
    """The table, one line a model, and a line for each that could not be measured."""
    width = max([5, *(len(one.name) for one in costs if isinstance(one, Cost))])
    head = f"{'model':<{width}}  mask AP  ms a picture  to runs  instances  peak MB  weights"
    rows, failed = [head], []
    for one in costs:
        if not isinstance(one, Cost):
            failed.append(f"{one[0]}: {one[1]}")
            continue
        ap = models.named(one.name).card.mask_ap
        rows.append(
            f"{one.name:<{width}}  {'' if ap is None else f'{ap:g}':>7}  {one.ms:>12.1f}  "
            f"{one.ms_to_runs:>7.1f}  {one.instances:>9}  {one.peak_mb:>7.0f}  {one.weights}"
        )
    return rows + failed
