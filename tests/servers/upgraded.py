"""A service in a container, on a volume that outlives its image."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

import containers
from containers import UNPRIVILEGED, until

CONFIG = """
model: {name: blob}
sinks: ["jsonl:out/{source}.jsonl"]
run: {state_dir: state}
serve: {allow: ["http://127.0.0.1"]}
"""
NEXT = f"""
FROM {containers.IMAGE}
USER 0
RUN sed -i 's/^__version__ = .*/__version__ = "99.0.0"/' {containers.SITE}/pipeline/_version.py
USER 1000:1000
"""
BEFORE = "DROP TABLE model; PRAGMA user_version = 1;"
"""What makes a database one of the version that knew no models."""


@dataclass
class Upgraded:
    """A service on the network of this machine, whose volume outlives its images."""

    machine: Any
    port: int
    image: str = containers.IMAGE

    def start(self, image: str) -> None:
        self.image = image
        volumes = ("--volume=upgraded:/var/lib/maskstream", "--volume={}:/etc/maskstream:ro")
        mounts = [one.format(self.machine.folder / "upgraded") for one in volumes]
        self.machine.podman(
            *("run", "--detach", "--name=upgraded", "--network=host", *UNPRIVILEGED, *mounts),
            *(*self.machine.volumes(), image, "serve", "/etc/maskstream/maskstream.yaml"),
            *("--local", f"--port={self.port}"),
        )

    def stop(self) -> tuple[str, list[str]]:
        """Its exit code and what it said last."""
        self.machine.podman("stop", "--time=60", "upgraded")
        code = self.machine.podman("inspect", "--format={{.State.ExitCode}}", "upgraded").strip()
        command = ["podman", "logs", "upgraded"]
        said = subprocess.run(command, env=self.machine.environ, capture_output=True, text=True)
        self.machine.podman("rm", "upgraded")
        return code, said.stderr.splitlines()

    def ask(self, path: str, method: str = "GET", **body: Any) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx2.request(method, url, json=body or None).raise_for_status().json()

    def is_ready(self) -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/readyz").is_success
        except httpx2.HTTPError:
            return False

    def streams(self) -> dict[str, Any]:
        """What is desired, once all of it that is not paused has published a little."""

        def there() -> dict[str, Any] | None:
            try:
                found = {one["id"]: one for one in self.ask("/v1/streams")}
            except httpx2.HTTPError:
                return None
            going = [one["accounting"] for one in found.values() if not one["paused"]]
            well = going and all(one and one["published"] > 5 for one in going)
            return found if well else None

        found = until(there)
        return {name: (one["url"], one["paused"], one["settings"]) for name, one in found.items()}

    @property
    def folder(self) -> Path:
        inspect = ("volume", "inspect", "--format={{.Mountpoint}}", "upgraded")
        return Path(self.machine.podman(*inspect).strip())

    def change(self, script: str) -> None:
        with closing(sqlite3.connect(self.folder / "state" / "service.sqlite")) as database:
            database.executescript(script)

    def frames(self) -> list[tuple[int, int]]:
        lines = map(json.loads, (self.folder / "out" / "gate.jsonl").read_text().splitlines())
        return [(r["epoch"], r["frame"]) for r in lines if r["schema"] == "maskstream.frame/1"]
