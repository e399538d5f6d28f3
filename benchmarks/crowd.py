"""What a crowd that means no good costs the streams: `python -m benchmarks.crowd [--local]`.

Starts `maskstream serve` (a Ray of its own, or `--local`) with three cameras that this process
serves. In turns nobody asks, and everybody of `tests/servers/crowd.py` does at once: 1,000
connections that say nothing, 100 clients that take a kilobyte a second of pictures, 100 wrong
tokens a second, bodies of ten megabytes. The crowd has the lowest priority of this machine, as it
would sit on others. A third process notes when each record is in its file: the age of a result is
that time less the one at which its frame was captured. The first three seconds of the crowd, in
which a thousand connect at once and are sent what fits on the way to them, are told apart. A disk
that others keep busy shows in all ages: `TMPDIR=/dev/shm` leaves it out.

Prints the percentiles, what the crowd got, and memory. Exits with 1 where the 99th percentile is
more than 10 % higher while the crowd is there, or the service has grown by more than 100 MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import IO, cast

import numpy as np

from benchmarks.machine import machine, resident_mb
from benchmarks.serving import camera, served, state, until
from benchmarks.soak import cameras

STREAMS = ("cam", "two", "three")
CROWD = Path(__file__).parents[1] / "tests" / "servers" / "crowd.py"
TOKEN = "0123456789abcdef-of-the-benchmark"  # noqa: S105 - of a service that lives for minutes
LARGEST_RATIO, LARGEST_GROWTH_MB = 1.10, 100.0
LOOK_EVERY_S = 0.002
SETTLES_S = 3.0
QUIET, COMES, CROWDED = "nobody", "the crowd comes", "the crowd is there"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", action="store_true", help="without Ray")
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--watch", type=Path, help="a folder; how this command runs itself")
    arguments = parser.parse_args()
    if arguments.watch:
        watch(arguments.watch, sys.stdout)
        return
    print(machine("ray", "av", "fastapi", "uvicorn"))
    with tempfile.TemporaryDirectory(prefix="crowd-") as name, cameras(arguments.fps) as port:
        folder = Path(name)
        config = write_config(folder)
        with served(config, local=arguments.local, token=TOKEN) as (asked, run):
            for one in STREAMS:
                asked("POST", "/v1/streams", camera(one, port))
            until(lambda: all(state(asked, one) == "streaming" for one in STREAMS))
            turns = in_turns(folder, run, arguments.rounds, arguments.seconds)
    sys.exit(0 if told(*turns) else 1)


def write_config(folder: Path) -> Path:
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "token").chmod(0o600)
    values = {
        "model": {"name": "blob"},
        "sinks": [f"jsonl:{folder}/out/{{source}}.jsonl"],
        "run": {"state_dir": f"{folder}/state"},
        "serve": {"allow": ["http://127.0.0.1"], "token_file": f"{folder}/token"},
    }
    path = folder / "service.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    return path


def in_turns(
    folder: Path, run: subprocess.Popen[bytes], rounds: int, seconds: float
) -> tuple[dict[str, list[float]], list[float]]:
    """Ages of results in seconds, with nobody and with the crowd; and megabytes held, in order."""
    words = cast("list[str]", run.args)
    port = words[words.index("--port") + 1]
    spans: list[tuple[str, float, float]] = []
    held = []
    notes = folder / "ages"
    with notes.open("w") as file:
        watcher = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crowd", "--watch", str(folder / "out")], stdout=file
        )
        time.sleep(SETTLES_S)
        for _ in range(rounds):
            held.append(resident_mb(run.pid))
            quiet_s = time.time()
            time.sleep(seconds)
            comes_s = time.time()
            spans.append((QUIET, quiet_s, comes_s))
            comes(port, seconds)
            spans.append((COMES, comes_s, comes_s + SETTLES_S))
            spans.append((CROWDED, comes_s + SETTLES_S, time.time()))
            held.append(resident_mb(run.pid))
            time.sleep(SETTLES_S)
        watcher.terminate()
        watcher.wait(10)
    ages: dict[str, list[float]] = {QUIET: [], COMES: [], CROWDED: []}
    for line in notes.read_text().splitlines():
        at_s, age_s = map(float, line.split())
        for who, began_s, ended_s in spans:
            if began_s <= at_s < ended_s:
                ages[who].append(age_s)
    return ages, held


def comes(port: str, seconds: float) -> None:
    """The crowd, for so long."""
    command = ["chrt", "--idle", "0", sys.executable, str(CROWD), port, str(seconds)]
    done = subprocess.run(
        command, input=f"{TOKEN}\n", capture_output=True, text=True, check=True, timeout=99
    )
    print(f"the crowd got {done.stdout.strip()}")


def told(ages: dict[str, list[float]], held: list[float]) -> bool:
    """Print the table; whether all is as promised."""
    print("| who asks | results | age p50 ms | p90 | p99 | most |\n|---|---|---|---|---|---|")
    p99 = {}
    for who, found in ages.items():
        p50, p90, p99[who] = (1000 * float(np.percentile(found, q)) for q in (50, 90, 99))
        most = 1000 * max(found)
        print(f"| {who} | {len(found)} | {p50:.1f} | {p90:.1f} | {p99[who]:.1f} | {most:.1f} |")
    ratio, grown = p99[CROWDED] / p99[QUIET], max(held) - held[0]
    print(f"p99 {ratio:.2f} of without (promised {LARGEST_RATIO:.2f}); service +{grown:.0f} MB")
    return ratio <= LARGEST_RATIO and grown <= LARGEST_GROWTH_MB


def watch(folder: Path, out: IO[str]) -> None:
    """Print, for each record that is written to a file of the folder, when that was and its age."""
    files = [(folder / f"{name}.jsonl").open("rb") for name in STREAMS]
    rest = [b"" for _ in files]
    for file in files:
        file.seek(0, 2)
    while True:
        for place, file in enumerate(files):
            if not (read := file.read()):
                continue
            now_s = time.time()
            *lines, rest[place] = (rest[place] + read).split(b"\n")
            for line in lines:
                captured = datetime.fromisoformat(json.loads(line)["captured_at"]).timestamp()
                print(f"{now_s:.4f} {now_s - captured:.4f}", file=out, flush=True)
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    main()
