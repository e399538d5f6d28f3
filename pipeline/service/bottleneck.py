"""What holds a run up: one word, and the figure that shows it.

Whoever is busy all the time holds up the others. So each place a frame passes is asked for the
share of the time it was busy lately; where nobody is, frames wait for one another or for their way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal, TypeAlias

from pipeline.histogram import Histogram
from pipeline.service.cores import CoreTime
from pipeline.service.recent import StreamRates, WorkerRates

Where: TypeAlias = Literal[
    "nothing", "unknown", "cpu", "model", "sink", "postprocess", "decode", "wait", "transfer"
]

BUSY = 0.75
"""Share of the time from which on somebody holds up the others."""
ALWAYS = 0.95
"""The same from which on a camera's decoder is behind, where nothing is lost on the way to it."""
STARVED = 1.0
"""Seconds threads waited for a core for each they ran, from which on others starve them."""
CROWDED = 4.0
"""The same from which on there are too few cores, whoever has them."""
OTHERS = 0.5
"""What others ran, for each second ours did, from which on it is they who have the cores."""
LATE = ("stale", "buffer_full", "sink_full")
"""Causes of frames a camera has lost because something was too slow."""
NEXT_STEP: Mapping[Where, str] = {
    "nothing": "every frame that comes is published",
    "unknown": "look again once frames come",
    "cpu": "give this machine more cores, fewer streams, or nothing else to do",
    "model": "add segment workers or GPUs, a smaller model, max_fps, or segment_every",
    "sink": "write to a faster place, or less: every, fields, a smaller video",
    "postprocess": "fewer classes, a higher min_score, or an include polygon",
    "decode": "stride or max_fps, a smaller stream of the camera, more cores",
    "wait": "a smaller workers.max_wait_ms",
    "transfer": "stream workers on the machines of the segment workers, or smaller pictures",
}


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What holds up a run, or one stream of it."""

    kind: Where
    figure: str
    """What shows it, in words."""
    source: str | None = None
    """The stream it is of; None: the run as a whole."""

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return NEXT_STEP[self.kind]


def bottleneck(
    streams: Mapping[str, StreamRates],
    workers: Sequence[WorkerRates],
    *,
    cores: CoreTime,
    files: frozenset[str],
    max_wait_s: float,
) -> Bottleneck:
    """The first thing to mend of a run.

    Args:
        streams: what each did lately, by id; those that run.
        workers: what each segment worker did in the same time.
        cores: how the threads fared in the same time.
        files: the ids of streams that wait for whoever is slow, and so are always held up.
        max_wait_s: how long the first frame of a batch waits for others.
    """
    held = {name: one for name, one in streams.items() if name in files or _late(one)}
    if not any(one.fps_in for one in streams.values()):
        return Bottleneck("unknown", "no frame came lately")
    if not held:
        return Bottleneck("nothing", _keeps_up(streams))
    if (starved := _starved(cores)) is not None:
        return starved
    places = [place for name, one in held.items() for place in _places(name, one)]
    busiest = max(places, key=itemgetter(0))
    model = max((worker.busy for worker in workers), default=0.0)
    if model >= BUSY and model >= busiest[0]:
        return Bottleneck("model", f"segment workers were in the model {model:.0%} of the time")
    if busiest[0] >= BUSY:
        return busiest[1]
    return _between(held, workers, max_wait_s)


def _starved(cores: CoreTime) -> Bottleneck | None:
    """Whether there are too few cores for all, or others have them."""
    if cores.ran_s <= 0:
        return None
    waited, others = cores.waited_s / cores.ran_s, cores.others_s / cores.ran_s
    if waited <= STARVED or (waited <= CROWDED and others <= OTHERS):
        return None
    text = f"threads waited {waited:.1f} s for a core for each second they ran"
    return Bottleneck("cpu", f"{text}, others on this machine ran {others:.1f} s")


def _late(rates: StreamRates) -> bool:
    return any(rates.lost.get(cause) for cause in LATE) or _share(rates, "decode") >= ALWAYS


def _share(rates: StreamRates, stage: str) -> float:
    """Of the time a stream was in a stage."""
    return rates.stages.get(stage, Histogram()).sum_s / rates.seconds


def _keeps_up(streams: Mapping[str, StreamRates]) -> str:
    fps = sum(one.fps_out for one in streams.values())
    return f"{fps:.1f} frames a second, none lost for want of time"


def _places(name: str, rates: StreamRates) -> list[tuple[float, Bottleneck]]:
    """Each place in a stream with the share of the time it was busy."""
    kinds: tuple[tuple[str, Where], ...] = (
        ("decode", "decode"),
        ("track", "postprocess"),
        ("sink", "sink"),
    )
    found = []
    for stage, kind in kinds:
        share = _share(rates, stage)
        text = f"the thread of {name} was in {stage} {share:.0%} of the time"
        found.append((share, Bottleneck(kind, text, name)))
    if rates.lost.get("sink_full"):
        text = f"{name} left {rates.lost['sink_full']} results out for a sink"
        found.append((1.0, Bottleneck("sink", text, name)))
    return found


def _between(
    held: Mapping[str, StreamRates], workers: Sequence[WorkerRates], max_wait_s: float
) -> Bottleneck:
    """Nobody is busy: frames wait for others of their batch, or for their way to the model."""
    segment = Histogram()
    for one in held.values():
        segment = segment + one.stages.get("segment", Histogram())
    mean_s = segment.mean_s
    batches = sum(w.fps / w.frames_a_batch for w in workers if w.frames_a_batch)
    if mean_s is None or not batches:
        return Bottleneck("unknown", "no frame was segmented lately")
    model_s = sum(worker.busy for worker in workers) / batches
    rest_s = max(mean_s - model_s, 0.0)
    text = (
        f"of {1000 * mean_s:.0f} ms to the answer {1000 * model_s:.0f} ms were the model's, "
        f"a batch may wait {1000 * max_wait_s:.0f} ms"
    )
    kind: Where = "wait" if max_wait_s >= rest_s / 2 else "transfer"
    return Bottleneck(kind, text)
