"""The image is built as a person builds it, and does in a container what it does outside."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("containers", HERE / "containers.py")
assert _spec is not None
assert _spec.loader is not None
containers = importlib.util.module_from_spec(_spec)
sys.modules["containers"] = containers
_spec.loader.exec_module(containers)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A podman that has built the image."""
    if os.geteuid():
        pytest.skip("needs root to run containers")
    if missing := [name for name in containers.PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"no {', '.join(missing)}; install it with tests/servers/install.sh")
    machine = containers.Containers(tmp_path_factory.mktemp("containers"))
    try:
        machine.build()
        yield machine
    finally:
        machine.close()


def test_the_demo_runs_unprivileged_on_a_read_only_root(machine: Any) -> None:
    told = machine.run(
        *containers.UNPRIVILEGED, containers.IMAGE, "demo", "--frames", "10", "--quiet"
    )
    assert "10 frames tracked" in told
    assert "out/demo/street.jsonl" in told


def test_nothing_but_what_it_is_made_of_is_in_the_image(machine: Any) -> None:
    """No tests, no settings of who built it; uid 1000 owns what it writes and nothing else."""
    look = "import os, pathlib; print(os.getuid(), *sorted(os.listdir('.')), sep='|')"
    assert machine.run("--entrypoint=python", containers.IMAGE, "-c", look) == "1000\n"
    installed = machine.run("--entrypoint=ls", containers.IMAGE, containers.SITE).split()
    ours = {"maskstream", "pipeline", "workers"}
    assert ours <= set(installed)
    assert not {"tests", "benchmarks", "docs"} & set(installed)
