"""Three machines with addresses of their own: the same bytes, whatever becomes of one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import machines
from machines import Cluster

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

NAMES = ("head", "one", "two")
OF_TORCH = {"tmp/torchinductor_root"}
"""A cache it makes once a machine."""
NOTICED_AFTER_S = 4.0
FLOWS_WITHIN_S = 30.0
"""It is 8 s where there is nothing else to do; the rest is this machine, slow when it is busy."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The driver's machine, `head`, and two that do the work, `one` and `two`."""
    with machines.none_yet() as made:
        for name in NAMES:
            made.start(name)
        yield made


@pytest.fixture(scope="module")
def clip(cluster: Cluster, write_clip: Callable[..., Path]) -> Path:
    """Where all machines see it; its pictures are too large to travel within a call."""
    return cluster.put(write_clip("squares.mp4", 1000, zoom=3))


@pytest.fixture
def machines_up(cluster: Cluster) -> Iterator[Cluster]:
    """All three, before and after a test; nothing of its run is left on any of them."""
    before = {name: cluster.files(name) for name in NAMES}
    yield cluster
    for name in NAMES:
        if not cluster.runs(name):
            cluster.remove(name)
            cluster.start(name)
        else:
            assert not cluster.spilled(name)
            machines.until(lambda name=name: not cluster.workers(name))
            assert cluster.files(name) - before[name] <= OF_TORCH
    assert not list(cluster.shared.rglob(".maskstream*"))


@pytest.fixture(scope="module")
def expected(cluster: Cluster, clip: Path) -> dict[str, bytes]:
    """What one process writes of the clip."""
    return machines.alone(cluster, clip, "expected")


@pytest.mark.parametrize("model", [{"name": "blob"}, {"weights": "demo"}], ids=["blob", "demo"])
def test_workers_on_two_other_machines_write_the_bytes_of_one_process(
    machines_up: Cluster, write_clip: Callable[..., Path], model: dict[str, str]
) -> None:
    short = machines_up.put(write_clip("few.mp4", 24, zoom=3))
    wanted = machines.alone(
        machines_up, short, f"alone-{len(model)}-{model.get('weights')}", model=model
    )
    settings = machines.settings_for(
        machines_up, short, f"spread-{model.get('weights')}", model=model
    )
    run = machines_up.drive(settings)
    worked = {name: machines_up.workers(name) for name in NAMES}
    while run.process.poll() is None:
        worked = {name: kinds | machines_up.workers(name) for name, kinds in worked.items()}
    run.wait()
    assert machines.records(settings) == wanted
    everything = {"ScoutActor", "SegmentActor", "StreamActor"}
    assert worked == {"head": set(), "one": everything, "two": everything}


@pytest.mark.faults
@pytest.mark.parametrize("how", ["killed", "frozen", "cut off"])
def test_of_a_machine_that_is_lost_no_frame_is_and_it_does_no_harm_when_it_is_back(
    machines_up: Cluster, clip: Path, expected: dict[str, bytes], how: str
) -> None:
    """It has a segment worker and a stream; both are elsewhere when it comes back."""
    settings = machines.settings_for(machines_up, clip, how.replace(" ", "-"))
    run = machines_up.drive(settings)
    machines.until(lambda: min(run.published().values()) > 80)
    assert machines_up.workers("one") >= {"SegmentActor", "StreamActor"}
    lost_s = time.monotonic()
    machines_up.hit("one", how)

    def still_s() -> float:
        return max(run.longest_s(name, lost_s) for name in machines.STREAMS)

    if how != "killed":  # else it is started anew at once
        machines.until(lambda: still_s() > NOTICED_AFTER_S)  # and flows again
    machines_up.bring_back("one", how)
    printed = run.wait()
    assert machines.records(settings) == expected
    print(how, still_s(), printed)
    assert still_s() < FLOWS_WITHIN_S
