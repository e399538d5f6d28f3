"""The machine of Ray's head dies and is started again, while another drives a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import machines
from machines import Cluster, Run

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

OTHERS = ("one", "two")
ENDED_WITHIN_S = 40.0
"""A control store is waited for for 20 s; the rest is this machine, slow when it is busy."""
REDIS = ("redis-server", "--protected-mode", "no", "--save", "")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """None of its machines runs yet."""
    with machines.none_yet() as made:
        yield made


@pytest.fixture
def clip(cluster: Cluster, write_clip: Callable[..., Path]) -> Path:
    return cluster.put(write_clip("squares.mp4", 1000, zoom=3))


def lose_the_head(cluster: Cluster, settings: Path) -> tuple[Run, float]:
    """Kill it in the middle of a run that `one` drives, and start it again."""
    for name in OTHERS:
        cluster.start(name)
    run = cluster.drive(settings, by="one")
    machines.until(lambda: min(run.published().values()) > 80)
    lost_s = time.monotonic()
    cluster.podman("kill", "head")
    cluster.podman("start", "head")
    return run, lost_s


def test_with_a_redis_that_remembers_for_it_the_run_goes_on(cluster: Cluster, clip: Path) -> None:
    cluster.run("redis", *REDIS)
    cluster.start("head", RAY_REDIS_ADDRESS=f"{cluster.address('redis')}:6379")
    expected = machines.alone(cluster, clip, "alone")
    settings = machines.settings_for(cluster, clip, "together")
    run, lost_s = lose_the_head(cluster, settings)
    print(run.wait(), {name: run.longest_s(name, lost_s) for name in machines.STREAMS})
    assert machines.records(settings) == expected
    for name in OTHERS:
        machines.until(lambda name=name: not cluster.workers(name))


def test_without_one_the_run_ends_with_one_line_and_the_same_command_goes_on(
    cluster: Cluster, clip: Path
) -> None:
    cluster.start("head")
    expected = machines.alone(cluster, clip, "alone")
    state = {"state_dir": str(cluster.shared / "state")}
    settings = machines.settings_for(cluster, clip, "together", run=state)
    run, lost_s = lose_the_head(cluster, settings)
    printed = run.wait(code=1)
    ended_s = time.monotonic() - lost_s
    print(ended_s, printed)
    assert ended_s < ENDED_WITHIN_S
    assert printed.splitlines()[-1].endswith(
        "the same command starts anew, with --state-dir where it was"
    )
    assert "Traceback" not in printed
    left = {name: set() for name in OTHERS}
    machines.until(lambda: {n: cluster.workers(n) for n in OTHERS} == left, within_s=30)
    print("workers are gone after", time.monotonic() - lost_s - ended_s)
    for name in OTHERS:  # Ray ends there, as nobody it knows answers
        machines.until(lambda name=name: not cluster.runs(name), within_s=100)
        cluster.remove(name)
        cluster.start(name)
    cluster.drive(settings, by="one").wait()
    assert machines.records(settings) == expected
