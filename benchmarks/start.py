"""How long a large run takes until its streams begin: `python -m benchmarks.start`.

Makes small clips and COCO-shaped weights of 170 MB (R50-FPN v1, random, as torch saves them),
starts `maskstream run` with them in a process of its own and notes when each step of its start is
over. A run is ended as soon as all streams whose turn it is have been told to begin. Prints the
steps, each from the run where it was shortest, and exits with 1 where all but starting Ray and
loading the model took more than 3 s.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.machine import machine

LONGEST_S = 3.0
STEPS = {
    "settings": "Python, imports, command line, settings",
    "plan": "plan and checks",
    "prepared": "weights read and hashed, files looked at, manifest",
    "weights": "weights checked",
    "ray": "Ray imported and started",
    "workers": "weights handed out, workers started",
    "model": "model loaded",
    "begun": "streams told to begin",
}
NOT_OURS = ("ray", "model")
WATCHED = RESOLVE, PREPARE, ENTER, START_SEGMENT, LAUNCH, BEGIN = (
    "pipeline.plan.resolve:resolve",
    "workers.running:prepare",
    "workers.cluster:Cluster.__enter__",
    "workers.cluster:Cluster.start_segment",
    "workers.slots:StreamSlot.launch",
    "workers.slots:StreamSlot.begin",
)
"""Functions at whose beginning or end a step is over."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--timed", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.timed:
        timed_run(arguments.timed)
    print(machine("ray", "av", "torch"))
    with tempfile.TemporaryDirectory(prefix="start-") as folder:
        config = write_config(Path(folder), arguments.sources)
        runs = [one_run(config) for _ in range(arguments.runs)]
    best = {step: min(run[step] for run in runs) for step in STEPS}
    print(f"| step, {arguments.sources} sources | s | s of this process's CPU |\n|---|---|---|")
    for step, (seconds, cpu_s) in best.items():
        print(f"| {STEPS[step]} | {seconds:.2f} | {cpu_s:.2f} |")
    ours = [took for step, took in best.items() if step not in NOT_OURS]
    wall_s, cpu_s = (sum(parts) for parts in zip(*ours, strict=True))
    print(f"beside starting Ray and loading the model {wall_s:.2f} s ({cpu_s:.2f} s of CPU)")
    sys.exit(wall_s > LONGEST_S)


def write_config(folder: Path, count: int) -> Path:
    write_clips(folder / "clips", count)
    write_weights(folder / "weights.pth")
    values = {
        "model": {"name": "maskrcnn_resnet50_fpn", "weights": str(folder / "weights.pth")},
        "sources": [f"{folder}/clips/*.mp4"],
        "sinks": [f"jsonl:{folder}/out/{{source}}.jsonl", f"video:{folder}/out/{{source}}.mp4"],
    }
    config = folder / "start.yaml"
    config.write_text(json.dumps(values))  # JSON is YAML
    return config


def write_clips(folder: Path, count: int) -> None:
    import av
    import numpy as np

    folder.mkdir()
    for number in range(count):
        with av.open(str(folder / f"clip{number}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            for _ in range(10):
                image = np.full((96, 128, 3), number % 256, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode(None))


def write_weights(path: Path) -> None:
    import torch
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    torch.save(network.state_dict(), path)


def one_run(config: Path) -> dict[str, tuple[float, float]]:
    """Seconds of wall time and of CPU by step; what was written is taken away again."""
    at = (time.monotonic(), 0.0)
    command = [sys.executable, "-m", "benchmarks.start", "--timed", str(config)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    steps = {}
    for line in done.stdout.splitlines():
        step, wall_s, cpu_s = line.split()
        steps[step] = (float(wall_s) - at[0], float(cpu_s) - at[1])
        at = (float(wall_s), float(cpu_s))
    if missing := [STEPS[step] for step in STEPS if step not in steps]:
        sys.exit(f"the run never said: {', '.join(missing)}")
    shutil.rmtree(config.parent / "out")
    return steps


def timed_run(config: str) -> NoReturn:
    """Be `maskstream run`, say when each step is over, and leave when the streams have begun."""
    from pipeline.cli.main import main as command

    def when_begun(slot: Any) -> None:
        waiting.discard(slot)
        if not waiting:
            said("begun")
            for _ in range(2):  # to leave at once
                os.kill(os.getpid(), signal.SIGTERM)

    waiting: set[Any] = set()
    around(RESOLVE, before="settings", after="plan")
    around(PREPARE, after="prepared")
    around(ENTER, before="weights", after="ray")
    around(START_SEGMENT, after="workers")
    around(LAUNCH, then=waiting.add)
    around(BEGIN, before="model", then=when_begun)
    sys.argv = ["maskstream", "run", config, "--quiet"]
    command()


def place(function: str) -> tuple[Any, str]:
    """Who has the function `module:name`, or `module:class.name`, and under which name."""
    module, _, path = function.partition(":")
    owner, _, name = path.rpartition(".")
    found = import_module(module)
    return (getattr(found, owner) if owner else found), name


def around(
    function: str,
    *,
    before: str | None = None,
    after: str | None = None,
    then: Callable[[Any], None] | None = None,
) -> None:
    """Have a function say when it is entered and left, and call `then` with its first argument."""
    owner, name = place(function)
    inner = getattr(owner, name)

    @wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        said(before)
        result = inner(*args, **kwargs)
        said(after)
        if then is not None:
            then(args[0])
        return result

    setattr(owner, name, outer)


def said(step: str | None) -> None:
    """Only the first time counts."""
    if step is not None and step not in _told:
        _told.add(step)
        print(step, time.monotonic(), time.process_time(), flush=True)


_told: set[str] = set()

if __name__ == "__main__":
    main()
