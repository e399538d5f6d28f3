"""A minute without its service, as a user's command lives through it, killed meanwhile."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from brokers.broker import free_port
from brokers.s3 import key_of
from delivering import STREET
from http_camera import http_camera
from pipeline.delivery.held import ROOM

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(600)]

FRAMES, AWAY_S = 4000, 60.0
HELD = ROOM + 2
"""What a camera's file may lack of before the kill: it was flushed, or written, in that moment."""
_FIGURE = re.compile(r'maskstream_sink_(\w+)\{sink="(\w+)",source_id="(\w+)"\} (\S+)')


class Command:
    """`maskstream run` with a camera and a file, to the service and to files beside it."""

    def __init__(self, folder: Path, url: str, camera: int) -> None:
        self.folder, self.metrics = folder, free_port()
        told = {
            "model": {"name": "blob"},
            "sources": [
                {"id": "cam", "url": f"http://127.0.0.1:{camera}/"},
                {"id": "street", "url": f"{STREET}&frames={FRAMES}"},
            ],
            "sinks": [url, "jsonl:{source}.jsonl"],
            "metrics": {"port": self.metrics},
            "run": {"executor": "local", "state_dir": "state"},
        }
        (folder / "run.yaml").write_text(json.dumps(told))
        self.start()

    def start(self) -> None:
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "maskstream", "run", "run.yaml"],
                cwd=self.folder,
                stderr=said,
            )

    def wait_for(self, reached: Callable[[], bool], within_s: float = 150.0) -> float:
        """How long it took."""
        began = time.monotonic()
        while not reached():
            assert self.process.poll() is None, self.said
            assert time.monotonic() - began < within_s, self.said
            time.sleep(0.1)
        return time.monotonic() - began

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def lines(self, source: str) -> list[bytes]:
        path = self.folder / f"{source}.jsonl"
        return path.read_bytes().splitlines() if path.exists() else []

    def counts(self, name: str) -> dict[str, int]:
        """One of the figures of the service's sink, by source."""
        address = f"http://127.0.0.1:{self.metrics}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            found = _FIGURE.findall(answer.read().decode())
        return {
            source: round(float(value))
            for key, sink, source, value in found
            if key == name and sink != "jsonl"
        }

    def ends(self) -> bytes:
        self.process.terminate()
        assert self.process.wait(60) == 0, self.said
        return self.lines("cam")[-1]


@contextmanager
def running(folder: Path, url: str, camera: int) -> Any:
    command = Command(folder, url, camera)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait(10)


@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_a_command_killed_while_its_service_is_away_for_a_minute_misses_nothing_run_again(
    broker: Any, tmp_path: Path, how: str, figures: Any
) -> None:
    forgets = how == "killed" and not broker.survives  # so it is away from the first frame on
    if forgets:
        broker.kill()
    with http_camera(25) as camera, running(tmp_path, broker.url(), camera) as command:
        command.wait_for(lambda: len(command.lines("street")) >= 500)
        if not forgets:
            command.wait_for(lambda: all(command.counts("delivered_total").values()))
            broker.freeze() if how == "frozen" else broker.kill()
        away = time.monotonic()
        command.wait_for(lambda: len(command.lines("street")) >= FRAMES // 2)
        command.process.kill()
        command.process.wait(10)
        command.start()
        command.wait_for(lambda: len(command.lines("street")) >= FRAMES)
        time.sleep(max(0.0, AWAY_S - (time.monotonic() - away)))
        waited, size = command.counts("queued"), command.counts("spooled_bytes")
        offered = command.counts("offered_total")
        broker.thaw() if how == "frozen" else broker.start()

        def there() -> bool:
            delivered = command.counts("delivered_total")
            return all(delivered[source] >= offered[source] for source in offered)

        took_s = command.wait_for(there)
        command.wait_for(lambda: len(command.lines("street")) == FRAMES + 1)
        end = json.loads(command.ends())
    twice = {}
    for source in ("cam", "street"):
        every = [key for key, _ in broker.messages(source)]
        received = list(dict.fromkeys(every))
        twice[source] = len(every) - len(received)
        assert not (broker.once and twice[source])
        beside = [key_of(line, "") for line in command.lines(source)]
        assert [key for key in received if key in set(beside)] == beside
        assert len(received) - len(beside) <= (HELD if source == "cam" else 0)
    assert len(command.lines("street")) == FRAMES + 1
    assert "lost" not in end
    figures(
        *(broker.program, how, f"{waited['cam']:,} in {size['cam'] / 1e6:.1f} MB"),
        *(f"{waited['street']:,} in {size['street'] / 1e6:.1f} MB", f"{took_s:.1f} s"),
        *("0", f"{twice['cam']} + {twice['street']}"),
    )
    assert took_s <= 30
