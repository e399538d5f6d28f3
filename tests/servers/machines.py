"""A cluster of machines with addresses of their own, played by containers on one network.

Each has its own processes, network, shared memory and temporary folder, and Python and packages
of this machine, mounted where they lie here. Nothing is built.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from containers import OF_THIS_MACHINE, ROOT, Containers, until
from pipeline.config import load
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local

IMAGE = "localhost/machine"
STREAMS = ("a", "b")
PROGRAMS = ("podman", "runc", "iptables")
HEAD = "head"
PORT = 6379
RAY = (
    "exec {python} -m ray.scripts.scripts start {where} --block --num-cpus=1 --num-gpus=0"
    " --object-store-memory=150000000 --disable-usage-stats"
    " --node-ip-address=$(hostname -i) --labels=role={role}"
)
DRIVE = """
import json, sys, time
from pipeline.config import load
from pipeline.errors import MaskstreamError
from pipeline.plan.resolve import resolve
from workers.running import run

def note(counts):
    published = {stream.source_id: stream.published for stream in counts.streams}
    print(json.dumps([time.monotonic(), published]), file=told, flush=True)

with open(sys.argv[2], "w") as told:
    try:
        summary = run(resolve(load(sys.argv[1])), address="auto", on_progress=note)
    except MaskstreamError as error:
        raise SystemExit(str(error))
raise SystemExit(summary.exit_code)
"""


@dataclass(frozen=True)
class Run:
    """A run that is under way."""

    process: subprocess.Popen[str]
    told: Path

    def looks(self) -> list[tuple[float, dict[str, int]]]:
        """When the driver looked, by the clock of all machines, and what was published then."""
        *lines, _ = self.told.read_text().split("\n")
        return [tuple(json.loads(line)) for line in lines]

    def published(self) -> dict[str, int]:
        """By each stream, as it was told last."""
        looks = self.looks()
        return looks[-1][1] if looks else {"": 0}

    def longest_s(self, source_id: str, since_s: float) -> float:
        """For how long at most a stream has published nothing, from a moment on until its end."""
        moved_s, longest_s, last = since_s, 0.0, -1
        for at_s, published in self.looks():
            if published[source_id] > last:
                last = published[source_id]
                longest_s = max(longest_s, at_s - moved_s)
                moved_s = max(at_s, since_s)
        return longest_s

    def wait(self, timeout_s: float = 120, *, code: int = 0) -> str:
        """Until it has ended, with this exit code; what it has printed."""
        printed, _ = self.process.communicate(timeout=timeout_s)
        assert self.process.returncode == code, printed
        return printed


def unable() -> str | None:
    """Why this machine cannot play others; None: it can."""
    if os.geteuid():
        return "needs root to run containers"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"no {', '.join(missing)}; install it with tests/servers/install.sh" if missing else None


class Cluster:
    """A head and other machines, all of which see one folder under its own path.

    Args:
        folder: an empty one, of a short name; `close` removes it.
    """

    def __init__(self, folder: Path) -> None:
        self.containers = Containers(folder)
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.containers.stand_in(IMAGE)
        # Addresses are handed out once for all networks of this machine, whoever made them.
        self._network = f"between-{os.getpid()}"
        self._subnet = ipaddress.ip_network(f"10.90.{os.getpid() % 256}.0/24")
        self.podman("network", "create", f"--subnet={self._subnet}", self._network)
        self._names: list[str] = []

    def podman(self, *words: str, timeout_s: float = 60) -> str:
        """What one command of podman prints."""
        return self.containers.podman(*words, timeout_s=timeout_s)

    def start(self, name: str, **environ: str) -> None:
        """Start a machine; one called `head` is that."""
        if name == HEAD:
            where, role = f"--head --port={PORT} --include-dashboard=false", "head"
        else:
            where, role = f"--address={self.address(HEAD)}:{PORT}", "work"
        start = RAY.format(python=sys.executable, where=where, role=role)
        self.run(name, "bash", "-c", start, **environ)
        self.wait(name)

    def run(self, name: str, *command: str, **environ: str) -> None:
        """Start a machine with a command of its own."""
        words = [f"--name={name}", f"--hostname={name}", f"--network={self._network}"]
        words += [f"--ip={self.address(name)}", "--log-driver=k8s-file"]
        words += ["--shm-size=256m", "--tmpfs=/tmp", f"--volume={self.shared}:{self.shared}"]
        words += [f"--volume={path}:{path}:ro" for path in mounted()]
        words += [f"--env={key}={value}" for key, value in (ENVIRON | environ).items()]
        self.podman("run", "--detach", *words, IMAGE, *command)

    def wait(self, name: str) -> None:
        """Until Ray runs on a machine."""
        until(lambda: "Ray runtime started" in self.podman("logs", name))

    def address(self, name: str) -> str:
        """Of a machine on the network, whenever it is there."""
        if name not in self._names:
            self._names.append(name)
        return str(self._subnet[2 + self._names.index(name)])

    def hit(self, name: str, how: str) -> None:
        """Have it killed, frozen or cut off."""
        match how:
            case "frozen":
                self._signal(name, signal.SIGSTOP)
            case "cut off":
                self.podman("network", "disconnect", self._network, name)
            case _:
                self.podman("kill", name)

    def bring_back(self, name: str, how: str) -> None:
        """What was frozen or cut off goes on; what was killed starts anew."""
        match how:
            case "frozen":
                self._signal(name, signal.SIGCONT)
            case "cut off":
                self.podman("network", "connect", f"--ip={self.address(name)}", self._network, name)
            case _:
                self.remove(name)
                self.start(name)

    def _signal(self, name: str, number: signal.Signals) -> None:
        for pid in self.processes(name):
            os.kill(pid, number)

    def python(self, name: str, *words: str, timeout_s: float = 120) -> str:
        """What Python prints on a machine."""
        return self.podman("exec", name, sys.executable, *words, timeout_s=timeout_s)

    def processes(self, name: str) -> dict[int, str]:
        """The titles of all on a machine, by their pids on this one."""
        space = os.readlink(f"/proc/{self._first(name)}/ns/pid")
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                if os.readlink(process / "ns" / "pid") == space:
                    title = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(process.name)] = title.decode(errors="replace").strip()
        return found

    def workers(self, name: str) -> set[str]:
        """The kinds of workers of a run on a machine."""
        kinds = re.findall(r"ray::(\w+Actor)\b", "\n".join(self.processes(name).values()))
        return set(kinds)

    def files(self, name: str) -> set[str]:
        """What lies in shared memory and the temporary folder of a machine."""
        root = Path(f"/proc/{self._first(name)}/root")
        return {f"{kept}/{one}" for kept in ("dev/shm", "tmp") for one in os.listdir(root / kept)}

    def spilled(self, name: str) -> list[str]:
        """What the object store of a machine has put on its disk for want of room."""
        root = Path(f"/proc/{self._first(name)}/root/tmp/ray")
        return [path.name for path in root.glob("session_*/ray_spilled_objects*/*")]

    def _first(self, name: str) -> int:
        return int(self.podman("inspect", "--format={{.State.Pid}}", name))

    def drive(self, settings: Path, *, by: str = HEAD) -> Run:
        """Start a run, driven by one of the machines."""
        told = settings.with_suffix(".told")
        told.write_text("")
        words = ("podman", "exec", by, sys.executable, "-c", DRIVE, str(settings), str(told))
        process = subprocess.Popen(
            words,
            env=self.containers.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Run(process, told)

    def runs(self, name: str) -> bool:
        """Whether a machine is up."""
        return self.podman("inspect", "--format={{.State.Status}}", name) == "running\n"

    def remove(self, *names: str) -> None:
        """As if they had never been."""
        for name in names:
            self.podman("rm", "--force", "--volumes", "--ignore", "--time=0", name)

    def put(self, clip: Path) -> Path:
        """A copy of a file, where all machines see it."""
        return Path(shutil.copy(clip, self.shared))

    def close(self) -> None:
        """End every machine and remove the folder."""
        self.containers.close()


@contextlib.contextmanager
def none_yet() -> Iterator[Cluster]:
    """A cluster without any machine, gone after the block; skips where there can be none."""
    if (why := unable()) is not None:
        pytest.skip(why)
    made = Cluster(Path(tempfile.mkdtemp(prefix="machines-")))
    try:
        yield made
    finally:
        made.close()


ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": "/tmp",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": 32 * "7",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def mounted() -> list[str]:
    """Everything of this machine that Python needs, by its own path."""
    wanted = [sys.prefix, sys.base_prefix, *filter(os.path.isdir, sys.path), str(ROOT)]
    found: list[str] = list(OF_THIS_MACHINE)
    for path in sorted({os.path.abspath(one) for one in wanted}, key=len):
        if not any(Path(path).is_relative_to(one) for one in found):
            found.append(path)
    return found


def settings_for(cluster: Cluster, clip: Path, folder: str, **more: Any) -> Path:
    """Of a run on the machines; its sinks are of one folder."""
    made = cluster.shared / folder
    made.mkdir()
    settings = {
        "model": {"name": "blob"},
        "sources": [{"id": name, "url": str(clip)} for name in STREAMS],
        "sinks": [f"jsonl:{made}/{{source}}.jsonl"],
        "workers": {"segment": 2},
        "cluster": {
            "shared_paths": [str(cluster.shared)],
            "segment_labels": {"role": "work"},
            "stream_labels": {"role": "work"},
        },
    }
    path = made / "fleet.yaml"
    path.write_text(yaml.safe_dump(settings | more))
    return path


def records(settings: Path) -> dict[str, bytes]:
    """What a run has written, by the name of the file."""
    return {path.name: path.read_bytes() for path in sorted(settings.parent.glob("*.jsonl"))}


def alone(cluster: Cluster, clip: Path, folder: str, **more: Any) -> dict[str, bytes]:
    """What one process writes."""
    settings = settings_for(cluster, clip, folder, **more)
    assert run_local(resolve(load(settings))).exit_code == 0
    return records(settings)
