"""What a service costs beside a run: `python -m benchmarks.overhead [--frames 900]`.

The same frames go through `maskstream run --local` and through `maskstream serve --local` with the
API, the page and the metrics listening and nobody asking, and one frame in a hundred traced to a
collector that this process is. The two run at the same time on a core each and then with the cores
changed, so that what disturbs the machine disturbs both; CPU seconds of the whole process are taken
from the hundredth frame on, so without what starting costs. A run beside a run, done in turns with
it, says how far such a ratio can be trusted. Prints the geometric means of all ratios, and exits
with 1 where the service takes more than 2 % more.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import geometric_mean

from benchmarks.machine import machine

MOST = 1.02
FIRST = 100
"""Frame from which on is measured."""
PATIENCE_S = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=900)
    parser.add_argument("--pairs", type=int, default=6, help="of which half have the cores changed")
    arguments = parser.parse_args()
    print(machine("av", "fastapi", "uvicorn"))
    cores = sorted(os.sched_getaffinity(0))[:2]
    ratios: dict[str, list[float]] = {"run": [], "serve": []}
    with collector() as url:
        for _ in range(max(1, arguments.pairs // 2)):
            for verb, found in ratios.items():
                for first, second in (cores, reversed(cores)):
                    run, other = Measured("run", first), Measured(verb, second, traces=url)
                    taken = both(run, other, arguments.frames)
                    found.append(taken[1] / taken[0])
    for verb, found in ratios.items():
        each = ", ".join(f"{ratio:.3f}" for ratio in found)
        print(f"{verb} beside a run: {geometric_mean(found):.3f} of its CPU a frame ({each})")
    sys.exit(1 if geometric_mean(ratios["serve"]) > MOST else 0)


class Measured:
    """A command that works on an endless stream, on one core.

    Args:
        verb: `run` or `serve`.
        core: its number.
        traces: where a service sends one frame in a hundred.
    """

    def __init__(self, verb: str, core: int, *, traces: str = "") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="overhead-")
        folder = Path(self._folder.name)
        config, self._out = folder / "c.yaml", folder / "one.jsonl"
        values = {
            "model": {"name": "blob"},
            "sources": [{"id": "one", "url": "synthetic://street?seed=1&frames=1000000"}],
            "sinks": [f"jsonl:{self._out}"],
            "run": {"state_dir": str(folder / "state")},
        }
        config.write_text(json.dumps(values))  # JSON is YAML
        command = [str(Path(sys.executable).with_name("maskstream")), verb, str(config), "--local"]
        serves = verb == "serve"
        self._process = subprocess.Popen(
            [*command, "--port", "0"] if serves else command,
            env={**os.environ, **({"OTEL_EXPORTER_OTLP_ENDPOINT": traces} if serves else {})},
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        os.sched_setaffinity(self._process.pid, {core})  # before it has any thread
        self._read = self._frames = 0

    def frames(self) -> int:
        """So many are in its file."""
        if self._process.poll() is not None:
            raise SystemExit(f"the command ended with {self._process.returncode}")
        if self._out.exists():
            with self._out.open("rb") as lines:
                lines.seek(self._read)
                more = lines.read()
            self._read += len(more)
            self._frames += more.count(b"\n")
        return self._frames

    def cpu_s(self) -> float:
        """Seconds of a core that it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Stop it and forget what it wrote."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE_S)
        self._folder.cleanup()


def both(one: Measured, other: Measured, frames: int) -> tuple[float, float]:
    """CPU seconds a frame of two that run at the same time."""
    marks: dict[Measured, list[tuple[int, float]]] = {one: [], other: []}
    give_up_s = time.monotonic() + PATIENCE_S
    while any(len(found) < 2 for found in marks.values()):
        for measured, found in marks.items():
            if len(found) < 2 and measured.frames() >= FIRST + len(found) * frames:
                found.append((measured.frames(), measured.cpu_s()))
        if time.monotonic() > give_up_s:
            raise SystemExit(f"no {FIRST + frames} frames in {PATIENCE_S:g} s")
        time.sleep(0.02)
    for measured in marks:
        measured.close()
    (first, second) = marks.values()
    return _each(*first), _each(*second)


def _each(began: tuple[int, float], ended: tuple[int, float]) -> float:
    return (ended[1] - began[1]) / (ended[0] - began[0])


@contextmanager
def collector() -> Iterator[str]:
    """Takes traces and forgets them; gives its address."""

    class Taken(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody wants to know."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Taken) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


if __name__ == "__main__":
    main()
