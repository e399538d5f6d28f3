"""Whether a service stands what is done to it: `python -m benchmarks.serving [--cycles 50]`.

Starts `maskstream serve` (a Ray of its own, or `--local`) with three cameras that this process
serves (endless MJPEG over HTTP on loopback), and in one run:

- adds and removes a fourth one, so many times: the three keep their frames a second within 5 % and
  lose nothing, and what each process that is there throughout holds (memory of its own, threads,
  open files) is told after the tenth cycle and after the last, each time when the service has
  given back what it holds in holes;
- kills the service (SIGKILL) and starts it again: how long until all streams are back, with the
  same settings.

Prints a table and exits with 1 where anything was otherwise: memory may grow by 2 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.soak import Sample, cameras, look
from pipeline.heap import TRIM_EVERY_S

KEPT = ("one", "two", "three")
PATIENCE_S = 120.0
BACK_WITHIN_S = 15.0
SLOWER = 0.05
GROWS_MB = 2.0
SETTLED_AFTER = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=40, help="after the first ten")
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the undisturbed run")
    parser.add_argument("--local", action="store_true", help="without Ray")
    arguments = parser.parse_args()
    print(machine("ray", "av", "fastapi", "uvicorn"))
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="serving-") as folder, cameras(arguments.fps) as port:
        config = write_config(Path(folder))
        with served(config, local=arguments.local) as (asked, run):
            for name in KEPT:
                asked("POST", "/v1/streams", camera(name, port))
            until(lambda: all(state(asked, name) == "streaming" for name in KEPT))
            usual = rate(asked, lambda: time.sleep(arguments.seconds))
            wrong += cycles(asked, run, port, arguments.cycles, usual)
            before = {one["id"]: one["settings"] for one in asked("GET", "/v1/streams")}
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
        began_s = time.monotonic()
        with served(config, local=arguments.local) as (asked, _):
            until(lambda: all(state(asked, name) == "streaming" for name in KEPT))
            back_s = time.monotonic() - began_s
            after = {one["id"]: one["settings"] for one in asked("GET", "/v1/streams")}
    print(f"killed and started again: all streams back after {back_s:.1f} s")
    if back_s > BACK_WITHIN_S:
        wrong.append(f"back after {back_s:.1f} s")
    if after != before:
        wrong.append(f"other streams after the restart: {after}, were {before}")
    for line in wrong:
        print(f"WRONG: {line}")
    sys.exit(1 if wrong else 0)


def cycles(
    asked: Any, run: subprocess.Popen[bytes], port: int, count: int, usual: float
) -> list[str]:
    """Add and remove a stream, so many times; what was wrong."""

    def add_and_remove(times: int) -> None:
        for _ in range(times):
            asked("POST", "/v1/streams", camera("guest", port))
            until(lambda: state(asked, "guest") == "streaming")
            asked("DELETE", "/v1/streams/guest")
            until(lambda: not taken(asked, port))

    add_and_remove(SETTLED_AFTER)
    first = at_rest(run.pid)
    began_s = time.monotonic()
    busy = rate(asked, lambda: add_and_remove(count))
    each_s = (time.monotonic() - began_s) / count
    print(
        f"{count} cycles of {each_s:.1f} s; three cameras: {usual:.2f} frames/s undisturbed, "
        f"{busy:.2f} meanwhile ({busy / usual - 1:+.1%})"
    )
    wrong = [] if busy >= (1 - SLOWER) * usual else [f"{busy / usual - 1:+.1%} frames/s"]
    lost = {one["id"]: lost_by(one) for one in asked("GET", "/v1/streams")}
    if any(lost.values()):
        wrong.append(f"frames were lost: {lost}")
    last = at_rest(run.pid)
    print("| process | MB | threads | files |\n|---|---|---|---|")
    for key in first.keys() & last.keys():
        a, b = first[key], last[key]
        line = (
            f"{key[1]} | {a.own_mb:.1f} → {b.own_mb:.1f} | {a.threads} → {b.threads} | "
            f"{a.files} → {b.files}"
        )
        print(f"| {line} |")
        if b.own_mb > a.own_mb + GROWS_MB or b.threads > a.threads or b.files > a.files + 2:
            wrong.append(line)
    return wrong


def at_rest(pid: int) -> dict[tuple[int, str], Sample]:
    """What each process of a run holds, once what is left in holes has been given back."""
    time.sleep(TRIM_EVERY_S + 2.0)
    return {(pid, name): sample for pid, name, sample in look(pid, 0.0)}


def rate(asked: Any, meanwhile: Callable[[], None]) -> float:
    """Frames a second that the kept cameras published meanwhile, of all of them together."""
    before, began_s = published(asked), time.monotonic()
    meanwhile()
    return (published(asked) - before) / (time.monotonic() - began_s)


def published(asked: Any) -> int:
    """Frames of the kept cameras so far."""
    return sum(
        one["accounting"]["published"] for one in asked("GET", "/v1/streams") if one["id"] in KEPT
    )


def lost_by(stream: dict[str, Any]) -> dict[str, int]:
    """Frames that were dropped or failed."""
    return {**stream["accounting"]["dropped"], **stream["accounting"]["failed"]}


def state(asked: Any, name: str) -> str | None:
    """Of a stream; None: there is none."""
    found = [one["state"] for one in asked("GET", "/v1/streams") if one["id"] == name]
    return found[0] if found else None


def taken(asked: Any, port: int) -> bool:
    """Whether the guest is still being drained, so that its id cannot be had."""
    return "guest" in {
        line.partition('source_id="')[2].partition('"')[0]
        for line in asked("GET", "/metrics").splitlines()
        if line.startswith("maskstream_frames_captured_total")
    }


def camera(name: str, port: int) -> dict[str, Any]:
    return {"id": name, "url": f"http://127.0.0.1:{port}/{name}.mjpg", "min_score": 0.4}


def write_config(folder: Path) -> Path:
    values = {
        "model": {"name": "blob"},
        "sinks": [f"jsonl:{folder}/out/{{source}}.jsonl"],
        "run": {"state_dir": f"{folder}/state"},
        "serve": {"allow": ["http://127.0.0.1"]},
    }
    path = folder / "service.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    return path


@contextmanager
def served(
    config: Path, *, local: bool, token: str = ""
) -> Iterator[tuple[Any, subprocess.Popen[bytes]]]:
    """A service, and the way to ask it; told to end behind the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("maskstream")), "serve", str(config)]
    command += ["--port", str(port), *(["--local"] if local else [])]
    run = subprocess.Popen(command, start_new_session=True)

    shown = {"Authorization": f"Bearer {token}"} if token else {}

    def asked(method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}",
            data=data,
            method=method,
            headers={"Content-Type": "application/json", **shown},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
            text = answer.read().decode()
        return json.loads(text) if text.startswith(("{", "[")) else text

    def ready() -> bool:
        try:
            return asked("GET", "/readyz") == "ok\n"
        except (urllib.error.URLError, OSError):
            return False

    try:
        until(ready)
        yield asked, run
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGTERM)
            print(f"drained, exit code {run.wait(60)}")


def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > give_up_s:
            sys.exit("waited for too long")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
