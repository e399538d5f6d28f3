"""Objects in a real store, beyond what every service is tried with."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import maskstream
from brokers.broker import PASSWORD
from brokers.s3 import S3
from pipeline.errors import SourceError

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

STREET = "synthetic://street?size=160x120&frames=1000"


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Any:
    if reason := S3.missing():
        pytest.skip(reason)
    return S3.for_test(tmp_path_factory.mktemp("s3"), certificate)


def test_a_run_that_is_stopped_and_killed_between_its_objects_leaves_each_record_once(
    broker: Any, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "maskstream", "track", STREET, "--local", "--model", "blob"),
        *("--sink", broker.url(), "--sink", "jsonl:{source}.jsonl"),
    ]

    def until(wanted: Callable[[], bool], by: signal.Signals) -> None:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        while not wanted():
            assert process.poll() is None
        process.send_signal(by)
        process.wait(30)

    until(lambda: broker.has(4), signal.SIGTERM)
    stopped = len(broker.names())
    assert broker.messages("street")[-1][0].endswith(":street:end")
    until(lambda: broker.has(stopped + 4), signal.SIGKILL)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "street.jsonl").read_bytes().splitlines()
    assert len(lines) == 1001
    assert [body for _, body in broker.messages("street")] == lines
    assert PASSWORD not in done.stderr


def test_a_bucket_that_is_not_there_is_said(broker: Any, tmp_path: Path) -> None:
    url = broker.url().replace("&create=1", "")
    command = [sys.executable, "-m", "maskstream", "track", STREET, "--local", "--model", "blob"]
    done = subprocess.run(
        [*command, "--sink", url], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    said = (
        f"s3://shelf at http://127.0.0.1:{broker.port}: there is no such bucket; make it, or add "
        "create=1 to the sink"
    )
    assert f"street: sink s3: {said}\n" in done.stderr
    assert PASSWORD not in done.stderr
    with pytest.raises(SourceError) as error:
        list(maskstream.read(url, source="street"))
    assert str(error.value) == f"cannot read records: {said}"
