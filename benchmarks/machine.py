"""On what, with what and from which commit a figure was measured, and what this process holds."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path


def machine(*packages: str) -> str:
    """CPU, usable cores, load, Python, the versions of `packages`, and the commit.

    A package may be named as it is imported: OpenCV comes in wheels of several names.
    """
    wheels = packages_distributions()
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    parts = [f"{_cpu()}, {cores} cores, load {load:.1f}", f"Python {platform.python_version()}"]
    for package in packages:
        wheel = wheels.get(package, [package])[0]
        try:
            parts.append(f"{wheel} {version(wheel)}")
        except PackageNotFoundError:
            parts.append(f"{package} absent")
    return "; ".join([*parts, f"commit {_commit()}"])


def resident_mb(pid: int | None = None) -> float:
    """Of a process; None: of this one."""
    pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


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
