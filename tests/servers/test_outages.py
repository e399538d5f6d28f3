"""Results at real services that go away, or of runs that are killed: none is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brokers.amqp import Amqp
from brokers.broker import PASSWORD
from brokers.redis import Redis
from brokers.table import BROKERS
from brokers.webhook import Webhook
from delivering import STREET, Delivery, frames, only

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # pycocotools
]


OUTAGES = [
    pytest.param(1.0, id="1 s"),
    pytest.param(60.0, id="60 s", marks=[pytest.mark.faults, pytest.mark.timeout(300)]),
]


@pytest.mark.parametrize("seconds", OUTAGES)
@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_a_file_loses_nothing_while_the_service_is_away_and_does_not_wait_for_it(
    broker: Any, tmp_path: Path, how: str, seconds: float, figures: Any
) -> None:
    delivery = Delivery(broker, tmp_path / "spool", file=True)
    delivery.publish(range(200))
    kept = [] if broker.survives or how == "frozen" else all_of(delivery, broker, 200)
    went(broker, how)
    away = time.monotonic()
    delivery.publish(range(200, 1000))
    assert delivery.publisher.flush().keys() == {"sink", "beside"}
    assert time.monotonic() - away < 10  # none of it waited for the service
    assert delivery.beside.indices == list(range(1000))
    assert delivery.counts.queued > 500  # what was under way may have arrived
    comes_back_after(broker, how, seconds)
    back = time.monotonic()
    counts = delivery.finish()
    figures(broker.program, how, f"{seconds:g} s", f"drained after {time.monotonic() - back:.1f} s")
    assert time.monotonic() - back <= 30
    assert (counts.offered, counts.delivered, counts.dropped) == (1001, 1001, {})
    found = kept + frames(broker)
    assert (found if broker.once else list(dict.fromkeys(found))) == list(range(1000))


def all_of(delivery: Delivery, broker: Any, count: int) -> list[int]:
    """What a consumer gets before a broker dies that then forgets what it has acknowledged."""
    while delivery.counts.delivered < count:
        time.sleep(0.01)
    return frames(broker)


def went(broker: Any, how: str) -> None:
    broker.freeze() if how == "frozen" else broker.kill()


def comes_back_after(broker: Any, how: str, seconds: float) -> None:
    time.sleep(seconds)
    broker.thaw() if how == "frozen" else broker.start()


def test_a_camera_loses_what_the_spool_has_no_room_for_and_counts_it(
    broker: Any, tmp_path: Path
) -> None:
    delivery = Delivery(broker, tmp_path / "spool", "spool_mb=16", file=False)
    delivery.publish(range(10))
    while delivery.counts.delivered < 10:
        time.sleep(0.01)
    broker.freeze()
    delivery.publish(range(10, 1200), label="r" * 16_000)
    assert delivery.beside.indices == list(range(1200))
    size = sum(path.stat().st_size for path in (tmp_path / "spool").iterdir())
    assert 12_000_000 < size <= 16_000_000
    broker.thaw()
    counts = delivery.finish()
    assert counts.offered == 1201
    assert set(counts.dropped) == {"sink_full"}
    every = frames(broker)
    found = every if broker.once else list(dict.fromkeys(every))
    assert found == sorted(set(found))
    assert set(range(10)) < set(found)
    assert found[-1] == 1199
    assert len(found) >= counts.delivered - 1  # taken and dropped at the same time: both are true
    assert counts.delivered + counts.dropped["sink_full"] == 1201


@only(lambda kind: kind.once or kind in (Amqp, Webhook))
def test_a_run_that_is_killed_meanwhile_is_run_again_and_nothing_is_missing(
    broker: Any, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "maskstream", "track", f"{STREET}&frames=400", "--local"),
        *("--model", "blob", "--sink", broker.url(), "--sink", "jsonl:out/{source}.jsonl"),
    ]
    broker.freeze()
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    records = tmp_path / "out" / "street.jsonl"
    deadline = time.monotonic() + 60
    while not records.exists() or records.read_bytes().count(b"\n") < 100:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    broker.thaw()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    lines = records.read_bytes().splitlines()
    received = [body for _, body in broker.messages("street")]
    assert len(lines) == 401
    assert (received if broker.once else list(dict.fromkeys(received))) == lines
    assert PASSWORD not in done.stderr
    assert not list((tmp_path / "out").glob(".maskstream/*"))


@pytest.mark.ray
@pytest.mark.parametrize(
    "broker",
    [
        pytest.param(name, marks=[] if kind is Redis else pytest.mark.faults)
        for name, kind in sorted(BROKERS.items())
    ],
    indirect=True,
)
def test_a_stream_worker_that_is_killed_meanwhile_leaves_nothing_out(
    broker: Any, tmp_path: Path, writer_of: Callable[[Path], int | None]
) -> None:
    records = tmp_path / "out" / "street.jsonl"
    broker.freeze()
    # a short path: Ray puts sockets there
    with tempfile.TemporaryDirectory(prefix="ms-", ignore_cleanup_errors=True) as ray_folder:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "maskstream", "track", f"{STREET}&frames=700"),
                *("--model", "blob", "--sink", broker.url()),
                *("--sink", "jsonl:out/{source}.jsonl"),
            ],
            cwd=tmp_path,
            env={**os.environ, "RAY_TMPDIR": ray_folder},
            stderr=subprocess.DEVNULL,
        )
        while not records.exists() or records.read_bytes().count(b"\n") < 100:
            assert process.poll() is None
            time.sleep(0.01)
        victim = writer_of(records)
        assert victim not in (None, process.pid)
        os.kill(victim, signal.SIGKILL)  # type: ignore[arg-type]
        broker.thaw()
        assert process.wait(100) == 0
    lines = records.read_bytes().splitlines()
    received = [body for _, body in broker.messages("street")]
    assert len(lines) == 701
    assert (received if broker.once else list(dict.fromkeys(received))) == lines
