"""`maskstream serve` as a child process, asked over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def ask(url: str, method: str = "GET", body: Any = None) -> Any:
    headers = {"Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data, headers, method=method), timeout=90) as answer:
            return json.load(answer)
    except HTTPError as error:
        with error:
            return json.load(error)


@contextmanager
def served(config: Path, *how: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command as a child process, which a test may kill; where it listens."""
    command = [sys.executable, "-m", "maskstream", "serve", str(config), "--port", "0", *how]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=config.parent)
    assert process.stderr is not None
    said = ""
    while (found := re.search(r"listening on (http://[\w.:]+)", said)) is None:
        said += process.stderr.readline()
        assert process.poll() is None, said
    try:
        yield found[1], process
    finally:
        if killed := process.poll() is not None:
            process.stderr.close()
        else:
            process.terminate()
            said += process.communicate(timeout=60)[1]
    assert killed or (process.returncode, "Traceback" in said) == (0, False), said


def until(seen: Callable[[], object]) -> None:
    late_s = time.monotonic() + 90
    while not seen():
        assert time.monotonic() < late_s, "it never came"
        threading.Event().wait(0.1)


def published(url: str) -> dict[str, int]:
    counts = {one["id"]: one["accounting"] for one in ask(f"{url}/v1/streams")}
    return {name: one["published"] if one else 0 for name, one in counts.items()}


def records(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["schema"] == "maskstream.frame/1"]
