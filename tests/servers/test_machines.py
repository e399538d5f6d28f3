"""Three machines with addresses of their own: the same bytes, whatever becomes of one of them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import load
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local

_spec = importlib.util.spec_from_file_location("machines", Path(__file__).parent / "machines.py")
assert _spec is not None
assert _spec.loader is not None
machines = importlib.util.module_from_spec(_spec)
sys.modules["machines"] = machines
_spec.loader.exec_module(machines)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

NAMES = ("head", "one", "two")
STREAMS = ("a", "b")
OF_TORCH = {"tmp/torchinductor_root"}
"""A cache it makes once a machine."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """The driver's machine, `head`, and two that do the work, `one` and `two`."""
    if os.geteuid():
        pytest.skip("needs root to run containers")
    if missing := [name for name in machines.PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"no {', '.join(missing)}; install it with tests/servers/install.sh")
    made = machines.Cluster(Path(tempfile.mkdtemp(prefix="machines-")))
    try:
        for name in NAMES:
            made.start(name)
        yield made
    finally:
        made.close()


@pytest.fixture
def machines_up(cluster: Any) -> Iterator[Any]:
    """All three, before and after a test; nothing of its run is left on any of them."""
    before = {name: cluster.files(name) for name in NAMES}
    yield cluster
    for name in NAMES:
        if not cluster.runs(name):
            cluster.remove(name)
            cluster.start(name)
        else:
            machines.until(lambda name=name: not cluster.workers(name))
            assert cluster.files(name) - before[name] <= OF_TORCH
    assert not list(cluster.shared.rglob(".maskstream*"))


def settings_for(cluster: Any, clip: Path, folder: str, **more: Any) -> Path:
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
    return {path.name: path.read_bytes() for path in sorted(settings.parent.glob("*.jsonl"))}


def alone(cluster: Any, clip: Path, folder: str, **more: Any) -> dict[str, bytes]:
    """What one process writes."""
    settings = settings_for(cluster, clip, folder, **more)
    assert run_local(resolve(load(settings))).exit_code == 0
    return records(settings)


@pytest.mark.parametrize("model", [{"name": "blob"}, {"weights": "demo"}], ids=["blob", "demo"])
def test_workers_on_two_other_machines_write_the_bytes_of_one_process(
    machines_up: Any, write_clip: Callable[..., Path], model: dict[str, str]
) -> None:
    short = Path(shutil.copy(write_clip("few.mp4", 24, zoom=3), machines_up.shared))
    wanted = alone(machines_up, short, f"alone-{len(model)}-{model.get('weights')}", model=model)
    settings = settings_for(machines_up, short, f"spread-{model.get('weights')}", model=model)
    run = machines_up.drive(settings)
    worked = {name: machines_up.workers(name) for name in NAMES}
    while run.process.poll() is None:
        worked = {name: kinds | machines_up.workers(name) for name, kinds in worked.items()}
    run.wait()
    assert records(settings) == wanted
    everything = {"ScoutActor", "SegmentActor", "StreamActor"}
    assert worked == {"head": set(), "one": everything, "two": everything}
