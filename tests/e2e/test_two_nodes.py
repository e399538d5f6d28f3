"""Two machines, played by two nodes of Ray on this one: the same bytes, whatever becomes of one."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from benchmarks.kills import SHARED_MEMORY, Family
from benchmarks.latency import fixed_latency
from benchmarks.scale import spilled_bytes
from pipeline.config import Settings, parse
from pipeline.metrics.counts import RunCounts
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from pipeline.stream import RunSummary
from workers import private
from workers.running import run

# Not beside the Ray of the test session: a process is on one cluster at a time.
pytestmark = [
    pytest.mark.servers,
    pytest.mark.faults,
    pytest.mark.ray,
    pytest.mark.timeout(300),
]

STREAMS, FRAMES = ("a", "b"), 240
FLOWS_WITHIN_S = 20.0
"""A node is given up after 6 s; the rest is this machine, which is slow when it is busy."""
GONE_WITHIN_S = 20.0
OF_A_RUN = {"ray::StreamActor", "ray::SegmentActor", "ray::ScoutActor"}
OBJECTS = "plasma*"
"""What Ray calls its files in shared memory."""
PREEMPTION = 2
"""As Ray numbers its reasons to drain a node; of the others it first asks whether it is idle."""
NODE = {"num_cpus": 1, "object_store_memory": 150 << 20}


def settings_for(out: Path, *, frames: int = FRAMES, **more: Any) -> Settings:
    # Pictures are too large for Ray to send them in a call: they go through the raylets.
    url = "synthetic://street?seed={}&frames={}&size=640x360"
    return parse(
        {
            "model": {"name": "blob"},
            "sources": [
                {"id": name, "url": url.format(seed, frames)} for seed, name in enumerate(STREAMS)
            ],
            "sinks": [f"jsonl:{out}/{{source}}.jsonl"],
            "workers": {"segment": 2},
            "cluster": {"shared_paths": [str(out.parent)], **more},
        }
    )


def records(out: Path) -> list[bytes]:
    return [Path(out, f"{name}.jsonl").read_bytes() for name in STREAMS]


@pytest.fixture(scope="module")
def head() -> Iterator[Cluster]:
    """The driver's node."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def family() -> Family:
    """This process and all that are below it as often as somebody looks."""
    return Family(os.getpid())


@pytest.fixture
def joined(head: Cluster, family: Family, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """It, for one run; what was added to it leaves again, and of the run nothing is left."""
    temporary = Path(tempfile.mkdtemp(prefix="t"))  # short enough for Ray's sockets
    monkeypatch.setattr(private, "choose_base", lambda: str(temporary))
    shared = set(SHARED_MEMORY.glob(OBJECTS))
    try:
        yield head
        family.look()
    finally:
        ray.shutdown()
        for node in list(head.worker_nodes):
            head.remove_node(node, allow_graceful=False)
    until_s = time.monotonic() + GONE_WITHIN_S
    while left := [
        *(name for name in family.living() if name in OF_A_RUN),
        *(set(SHARED_MEMORY.glob(OBJECTS)) - shared),
        *temporary.iterdir(),
    ]:
        assert time.monotonic() < until_s, left
        time.sleep(0.1)
    temporary.rmdir()


def processes(node: Any) -> list[int]:
    """Those of a node, the workers on it included."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
            children[int(parent)].append(int(stat.parent.name))
    found = [started.process.pid for kind in node.all_processes.values() for started in kind]
    for pid in found:  # grows as it goes
        found += children[pid]
    return found


def titles(node: Any) -> set[str]:
    """The kinds of workers on a node."""
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes(node)]
    return {line.split(b"\0")[0].decode() for line in lines if line.startswith(b"ray::")}


class Watch:
    """Does something to the run once, after so many frames; to be its `on_progress`."""

    def __init__(self, what: Callable[[], object], *, after: int = 160) -> None:
        self.longest_s = 0.0
        """Without a frame, after that."""
        self.done = False
        self._what, self._after = what, after
        self._published, self._moved_at_s = 0, 0.0

    @property
    def still_s(self) -> float:
        """Since the last frame."""
        return time.monotonic() - self._moved_at_s

    def __call__(self, counts: RunCounts) -> None:
        published = sum(stream.published for stream in counts.streams)
        now = time.monotonic()
        if published > self._published:
            if self.done:
                self.longest_s = max(self.longest_s, now - self._moved_at_s)
            self._published, self._moved_at_s = published, now
        if not self.done and published > self._after:
            self.done = True
            self._what()
            self._moved_at_s = time.monotonic()


def carry_out(
    cluster: Cluster,
    family: Family,
    out: Path,
    watch: Callable[[RunCounts], object],
    **more: Any,
) -> RunSummary:
    """Run it in one process and on the cluster; the bytes are the same."""
    assert run_local(resolve(settings_for(out / "local", **more))).exit_code == 0
    plan = resolve(settings_for(out / "ray", **more))

    def look(counts: RunCounts) -> None:
        family.look()
        watch(counts)

    summary = run(plan, address=cluster.address, on_progress=look)
    assert summary.exit_code == 0
    assert records(out / "ray") == records(out / "local")
    assert not list(out.glob(".maskstream-*"))
    return summary


def test_streams_spread_over_nodes_and_write_the_bytes_of_one_process(
    joined: Cluster, family: Family, tmp_path: Path
) -> None:
    node = joined.add_node(**NODE)
    seen: set[str] = set()
    carry_out(joined, family, tmp_path, lambda counts: seen.update(titles(node)), frames=60)
    assert {"ray::StreamActor", "ray::ScoutActor"} <= seen


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_of_a_node_that_is_lost_no_frame_is(
    joined: Cluster, family: Family, tmp_path: Path, how: signal.Signals
) -> None:
    lost = joined.add_node(**NODE)
    hit: list[int] = []

    def lose() -> None:
        hit.extend(processes(lost))
        for pid in hit:
            os.kill(pid, how)

    watch = Watch(lose)
    try:
        carry_out(joined, family, tmp_path, watch)
    finally:
        if how is signal.SIGSTOP:
            for pid in hit:
                os.kill(pid, signal.SIGKILL)
    assert watch.done
    assert watch.longest_s < FLOWS_WITHIN_S


def test_a_node_that_was_given_up_and_comes_back_does_no_harm(
    joined: Cluster, family: Family, tmp_path: Path
) -> None:
    """It has both streams: they go on where it has joined again, and what it still does is lost."""
    node = joined.add_node(**NODE, labels={"role": "decode"})
    hit: list[int] = []

    def freeze() -> None:
        hit.extend(processes(node))
        for pid in hit:
            os.kill(pid, signal.SIGSTOP)

    watch = Watch(freeze)

    def look(counts: RunCounts) -> None:
        watch(counts)
        if hit and watch.still_s > 8.0:
            while hit:
                os.kill(hit.pop(), signal.SIGCONT)

    carry_out(joined, family, tmp_path, look, stream_labels={"role": "decode"})
    assert watch.done
    assert hit == []


def drain(cluster: Cluster, node: Any) -> None:
    """What `ray drain-node`, and the notice of a machine that is taken away, ask for."""
    until_ms = int((time.time() + 120.0) * 1000)
    accepted, why = ray._raylet.GcsClient(address=cluster.address).drain_node(
        node.node_id, PREEMPTION, "it is wanted back", until_ms
    )
    assert accepted, why


def test_a_node_that_is_drained_is_empty_before_it_goes_and_no_frame_is_lost(
    joined: Cluster, family: Family, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ray takes a drained node away once nobody works there any more."""
    node = joined.add_node(**NODE)
    began: list[float] = []
    gone_s: list[float] = []
    last: list[RunCounts] = []

    def look(counts: RunCounts) -> None:
        last[:] = [counts]
        both = all(worker.batches for worker in counts.workers)
        if both and not began and {"ray::StreamActor", "ray::SegmentActor"} <= titles(node):
            began.append(time.monotonic())
            drain(joined, node)
        if began and not gone_s and not processes(node)[1:]:
            gone_s.append(time.monotonic() - began[0])

    caplog.set_level(logging.INFO, logger="workers")
    carry_out(joined, family, tmp_path, look, frames=500)
    assert gone_s
    assert gone_s[0] < FLOWS_WITHIN_S
    assert "resting" in [worker.state for worker in last[0].workers]
    assert not any(worker.restarts for worker in last[0].workers)
    assert not any(last[0].stream_restarts.values())
    assert "given up" not in caplog.text


def test_a_node_that_joins_while_a_run_goes_on_takes_work_within_ten_seconds(
    joined: Cluster, tmp_path: Path
) -> None:
    out = tmp_path / "ray"
    settings = settings_for(out, frames=2000)
    workers = settings.workers.model_copy(update={"segment": "auto"})
    added: list[tuple[Any, float]] = []
    took_s: list[float] = []

    def look(counts: RunCounts) -> None:
        if not added and sum(stream.published for stream in counts.streams) > 20:
            added.append((joined.add_node(**NODE), time.monotonic()))
        busy = [worker for worker in counts.workers if sum(worker.batches.values())]
        if added and not took_s and len(busy) == 2:
            took_s.append(time.monotonic() - added[0][1])
            stop.set()

    stop = threading.Event()
    plan = resolve(settings.model_copy(update={"workers": workers}))
    assert run(plan, address=joined.address, on_progress=look, stop=stop).exit_code == 0
    assert took_s
    assert took_s[0] < 10.0


def test_what_is_under_way_never_fills_the_shared_memory_of_a_node(
    joined: Cluster, write_clip: Callable[..., Path], tmp_path: Path
) -> None:
    """Six streams may have 600 MB in flight, and the node has room for 150."""
    clip = write_clip("large.mp4", 20, 16)  # 9.4 MB a picture
    names = [f"f{number}" for number in range(6)]
    settings = parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": name, "url": str(clip)} for name in names],
            "sinks": [f"jsonl:{tmp_path}/out/{{source}}.jsonl"],
            "workers": {"segment": 1, "streams_per_worker": 3, "in_flight_mb": 600},
        }
    )
    spilled = []
    with fixed_latency(0.03):
        summary = run(
            resolve(settings),
            address=joined.address,
            on_progress=lambda _: spilled.append(spilled_bytes()),
        )
    assert [end.counts.published for end in summary.ends] == [20] * len(names)
    assert max(spilled) == 0
