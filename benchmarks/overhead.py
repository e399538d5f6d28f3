"""What a service costs beside a run: `python -m benchmarks.overhead [--frames 600]`.

The same frames go through `maskstream run --local` and through `maskstream serve --local` with the
API, the page and the metrics listening and nobody asking, and one frame in a hundred traced to a
collector that this process is. CPU seconds of the whole process are taken for a short and for a
long stream: the difference a frame is without what starting costs. Pairs are interleaved, the
smallest of each counts. Exits with 1 where the service takes more than 2 % more.
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

from benchmarks.machine import machine

MOST = 0.02
SHORT = 60
PATIENCE_S = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    print(machine("av", "fastapi", "uvicorn"))
    lengths = (SHORT, SHORT + arguments.frames)
    taken: dict[tuple[str, int], list[float]] = {}
    with collector() as url:
        for _ in range(arguments.pairs):
            for verb in ("run", "serve"):
                for frames in lengths:
                    taken.setdefault((verb, frames), []).append(cpu_s(verb, frames, url))
    each = {
        verb: (min(taken[verb, lengths[1]]) - min(taken[verb, lengths[0]])) / arguments.frames
        for verb in ("run", "serve")
    }
    more = each["serve"] / each["run"] - 1
    print(
        f"run {1000 * each['run']:.2f} ms CPU a frame, serve with traces "
        f"{1000 * each['serve']:.2f} ms: {more:+.1%}"
    )
    sys.exit(1 if more > MOST else 0)


def cpu_s(verb: str, frames: int, collected: str) -> float:
    """CPU seconds of a process until its stream is complete."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as name:
        folder = Path(name)
        config, out = folder / "c.yaml", folder / "one.jsonl"
        values = {
            "model": {"name": "blob"},
            "sources": [{"id": "one", "url": f"synthetic://street?seed=1&frames={frames}"}],
            "sinks": [f"jsonl:{out}"],
            "run": {"state_dir": str(folder / "state")},
        }
        config.write_text(json.dumps(values))  # JSON is YAML
        command = [str(Path(sys.executable).with_name("maskstream")), verb, str(config), "--local"]
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collected} if verb == "serve" else {}
        if verb == "serve":
            command += ["--port", "0"]
        run = subprocess.Popen(
            command, env={**os.environ, **traced}, stderr=subprocess.DEVNULL, cwd=folder
        )
        give_up_s = time.monotonic() + PATIENCE_S
        while True:  # by ourselves: `Popen` would forget what it has used
            pid, _, used = os.wait4(run.pid, os.WNOHANG)
            if pid or time.monotonic() > give_up_s:
                break
            if out.exists() and b'"outcome"' in out.read_bytes()[-600:]:
                run.send_signal(signal.SIGTERM)
                _, _, used = os.wait4(run.pid, 0)
                break
            time.sleep(0.1)
        run.returncode = 0
        return used.ru_utime + used.ru_stime


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
