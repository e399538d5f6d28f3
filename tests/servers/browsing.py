"""A service in a process of its own, and its page opened in a browser."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

SOON_MS = 10_000


@dataclass
class Served:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    folder: Path

    def streams(self) -> dict[str, Any]:
        with urlopen(f"{self.url}/v1/streams", timeout=5) as answer:
            return {one["id"]: one for one in json.load(answer)}


@contextmanager
def served(folder: Path, urls: dict[str, str], **serve: Any) -> Iterator[Served]:
    settings = {
        "model": {"name": "blob"},
        "sources": [{"id": name, "url": url, "max_fps": 12} for name, url in urls.items()],
        "sinks": [f"jsonl:{folder}/{{source}}.jsonl"],
        "run": {"state_dir": str(folder / "state")},
        "serve": {"allow": ["rtsp://127.0.0.1", "http://127.0.0.1"], **serve},
    }
    config = folder / "service.yaml"
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "maskstream", "serve", str(config), "--local", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while (found := re.search(r"listening on (http://[\w.:]+)", said)) is None:
        said += process.stderr.readline()
        assert process.poll() is None, said
    yield Served(process, found[1], folder)
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0


@dataclass
class Opened:
    """A page, what its console said, and what it was sent."""

    page: Any
    said: list[str] = field(default_factory=list)
    records: dict[int, dict[str, Any]] = field(default_factory=dict)

    def until(self, script: str, *, within_s: float = 10.0) -> None:
        """Wait; asked from outside, as the page's policy lets nobody evaluate text inside."""
        deadline = time.monotonic() + within_s
        while not self.page.evaluate(script):
            assert time.monotonic() < deadline, script
            self.page.wait_for_timeout(50)

    def shown(self, count: int) -> None:
        """Wait until the view of a stream has shown so many pictures."""
        self.until(f"document.querySelector('.stage')?.dataset.shown > {count}")

    def tile(self, name: str) -> Any:
        return self.page.locator(f".tile[data-stream={name}]")

    def note(self, message: bytes | str) -> None:
        if isinstance(message, str):
            return  # an event
        length = int.from_bytes(message[:4], "big")
        record = json.loads(message[4 : 4 + length])
        self.records[record["frame"]] = record


@contextmanager
def opening(browser: Any, url: str) -> Iterator[Callable[..., Opened]]:
    """Opens the page; at the end nothing may have gone wrong in any that was not told it may."""
    contexts: list[Any] = []
    strict: list[Opened] = []

    def open_page(
        path: str = "",
        *,
        size: tuple[int, int] = (1440, 900),
        before: str | None = None,
        quiet: bool = True,
        at: str = url,
    ) -> Opened:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark"
        )
        contexts.append(context)
        if before:
            context.add_init_script(before)
        one = Opened(context.new_page())
        one.page.set_default_timeout(SOON_MS)
        kinds = ("error", "warning")
        one.page.on("console", lambda m: one.said.append(m.text) if m.type in kinds else None)
        one.page.on("pageerror", lambda error: one.said.append(str(error)))
        one.page.on("websocket", lambda socket: socket.on("framereceived", one.note))
        if quiet:
            strict.append(one)
        one.page.goto(f"{at}/{path}")
        return one

    yield open_page
    said = [one.said for one in strict]
    for context in contexts:
        context.close()
    assert said == [[] for _ in strict]


def rate_of_the_slowest(page: Any) -> float:
    """Pictures a second that the slowest tile shows."""
    script = "all => all.map(one => [performance.now(), Number(one.dataset.shown ?? 0)])"
    before = page.locator(".tile").evaluate_all(script)
    page.wait_for_timeout(2000)
    after = page.locator(".tile").evaluate_all(script)
    return min(
        1000 * (shown - shown_before) / (at_ms - before_ms)
        for (before_ms, shown_before), (at_ms, shown) in zip(before, after, strict=True)
    )
