"""One line that says on what, with what and from which commit a figure was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine(*packages: str) -> str:
    """CPU, usable cores, load, Python, the versions of `packages`, and the commit."""
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    parts = [f"{_cpu()}, {cores} cores, load {load:.1f}", f"Python {platform.python_version()}"]
    for package in packages:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"{package} absent")
    return "; ".join([*parts, f"commit {_commit()}"])


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _commit() -> str:
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"
