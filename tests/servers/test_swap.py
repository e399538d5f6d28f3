"""The model of a running service is another one: no frame is lost or doubled over it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from http_camera import http_camera

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

STREAMS = ("a", "b", "c")
FPS = 4
BLOB, DEMO = {"name": "blob"}, {"weights": "demo"}


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
def served(config: Path, *how: str) -> Iterator[str]:
    """The command as a child process; where it listens."""
    command = [sys.executable, "-m", "maskstream", "serve", str(config), "--port", "0", *how]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=config.parent)
    assert process.stderr is not None
    said = ""
    while (found := re.search(r"listening on (http://[\w.:]+)", said)) is None:
        said += process.stderr.readline()
        assert process.poll() is None, said
    try:
        yield found[1]
    finally:
        process.terminate()
        said += process.communicate(timeout=60)[1]
    assert (process.returncode, "Traceback" in said) == (0, False), said


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


@pytest.mark.parametrize("how", [("--local",), ()], ids=["one-process", "ray"])
def test_every_frame_is_of_exactly_one_model_and_none_is_lost(
    how: tuple[str, ...], tmp_path: Path
) -> None:
    with http_camera(FPS) as port:
        source = {"url": f"http://127.0.0.1:{port}/", "live": True, "min_score": 0.0}
        settings = {
            "model": DEMO,
            "sources": [{"id": name, **source} for name in STREAMS],
            "sinks": ["jsonl:{source}.jsonl"],
            "run": {"state_dir": "state"},
            "workers": {"segment": 1},
        }
        config = tmp_path / "service.yaml"
        config.write_text(json.dumps(settings))
        with served(config, *how) as url:
            until(lambda: min(published(url).values(), default=0) >= FPS)
            refused = ask(f"{url}/v1/model", "PUT", {"weights": str(config)})
            assert refused["status"] == 403
            firsts = []
            for model in (BLOB, DEMO):
                answer = ask(f"{url}/v1/model", "PUT", model)
                assert answer.get("loading", "") is None, answer
                firsts.append((answer["recorded_as"], answer["first_frames"]))
                before = published(url)
                until(lambda b=before: all(published(url)[n] >= b[n] + FPS for n in STREAMS))
            until(lambda: len(ask(f"{url}/v1/workers")) == 1)  # the others have drained
            counts = {one["id"]: one["accounting"] for one in ask(f"{url}/v1/streams")}
        demo = firsts[-1][0]
        assert re.fullmatch(r"maskrcnn_\w+@[0-9a-f]{12}", demo), demo
        for name in STREAMS:
            found = records(tmp_path / f"{name}.jsonl")
            frames = [one["frame"] for one in found]
            assert max(Counter(frames).values()) == 1
            # what a camera leaves out where the machine is too slow is counted, nothing else is
            account = counts[name]
            assert (account["failed"], {*account["dropped"]} - {"buffer_full"}) == ({}, set())
            switches = [
                (b["model"], b["frame"]) for a, b in pairwise(found) if a["model"] != b["model"]
            ]
            missing = {*range(switches[-1][1])} - {*frames}
            assert len(missing) <= account["dropped"].get("buffer_full", 0)
            assert [model for model, _ in switches] == [model for model, _ in firsts]
            for (_, frame), (_, first) in zip(switches, firsts, strict=True):
                # where the machine is slow, that frame had not come yet
                assert first[name] is None or first[name]["frame"] <= frame
        with served(config, *how) as url:  # as it was left
            until(lambda: ask(f"{url}/v1/model").get("recorded_as") == demo)
            until(lambda: min(published(url).values(), default=0) >= 2)
        for name in STREAMS:
            assert records(tmp_path / f"{name}.jsonl")[-1]["model"] == demo
