"""`run.state_dir` in a store of objects: another folder goes on, as another machine would."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from brokers.broker import PASSWORD
from brokers.s3 import S3
from pipeline.state.tenure import Record

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

FRAMES = 300


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Any:
    if reason := S3.missing():
        pytest.skip(reason)
    return S3.for_test(tmp_path_factory.mktemp("s3"), certificate)


class Machine:
    """A folder in which the command is given; nothing else of it is on another machine."""

    def __init__(self, path: Path, sink: str, state: str, *, frames: int = FRAMES) -> None:
        path.mkdir(parents=True)
        self._path = path
        self._command = [
            *(sys.executable, "-m", "maskstream", "track", "--local", "--quiet", "--model", "blob"),
            f"synthetic://street?size=160x120&frames={frames}",
            *("--sink", sink, "--state-dir", state),
        ]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, cwd=self._path, stderr=subprocess.PIPE, text=True)

    def run(self) -> tuple[int, str]:
        with self.start() as process:
            _, said = process.communicate(timeout=90)
        return process.returncode, said


def state_at(broker: Any, prefix: str = "runs", *options: str, password: str = PASSWORD) -> str:
    """In the bucket of the sinks' tests, without what only sinks take."""
    url = broker.url(*options, password=password).replace("/masks", f"/{prefix}", 1)
    place, _, query = url.partition("?")
    return f"{place}?{'&'.join(o for o in query.split('&') if not o.startswith('slice='))}"


def lines_in(folder: Path) -> str:
    return f"jsonl:{folder}/{{source}}.jsonl"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    assert Machine(folder / "m", lines_in(folder / "o"), str(folder / "st")).run() == (0, "")
    return (folder / "o" / "street.jsonl").read_bytes()


@contextmanager
def started(machine: Machine, output: Path, *, at_least: int = 0) -> Iterator[Any]:
    """Once it has written so many bytes; killed in the end."""
    with machine.start() as process:
        try:
            while not (output.exists() and output.stat().st_size > at_least):
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def test_killed_here_and_there_it_ends_with_the_same_bytes(
    broker: Any, tmp_path: Path, whole: bytes
) -> None:
    output, chance = tmp_path / "shared" / "street.jsonl", random.Random(7)
    for number in range(3):
        machine = Machine(tmp_path / f"m{number}", lines_in(tmp_path / "shared"), state_at(broker))
        with started(machine, output, at_least=chance.randrange(len(whole) // 2)):
            pass
    last = Machine(tmp_path / "last", lines_in(tmp_path / "shared"), state_at(broker))
    assert last.run() == (0, "")
    assert output.read_bytes() == whole
    assert last.run() == (0, "")  # already complete
    assert output.read_bytes() == whole
    assert list((tmp_path / "shared").glob(".maskstream*")) == []


def test_what_waited_for_a_service_on_a_machine_that_is_gone_is_done_again(
    broker: Any, tmp_path: Path
) -> None:
    """The sink puts an object each two seconds of the video, so something always waits."""
    frames, state = 3000, state_at(broker)
    first = Machine(tmp_path / "first", broker.url(), state, frames=frames)
    with first.start() as process:
        claims = 0
        while not claims:
            assert process.poll() is None, process.communicate()
            claims = json.loads(broker.get("runs/street.json") or "{}").get("published", 0)
            time.sleep(0.02)
        process.kill()
    assert Machine(tmp_path / "last", broker.url(), state, frames=frames).run() == (0, "")
    numbers = [json.loads(body).get("frame") for _, body in broker.messages("street")]
    assert numbers == [*range(frames), None]


def test_the_first_is_named_and_one_that_was_replaced_writes_no_more(
    broker: Any, tmp_path: Path, whole: bytes
) -> None:
    output, state = tmp_path / "shared" / "street.jsonl", state_at(broker)
    first = Machine(tmp_path / "first", lines_in(tmp_path / "shared"), state)
    with started(first, output) as process:
        process.send_signal(signal.SIGSTOP)
        code, said = Machine(tmp_path / "second", lines_in(tmp_path / "elsewhere"), state).run()
        assert code == 2
        assert said.startswith(
            f"maskstream: s3://shelf/runs: in use by another run: pid {process.pid}"
        )
        assert not (tmp_path / "elsewhere").exists()

        # It is frozen for so long that a machine elsewhere has taken its place.
        other = Record("t", "elsewhere", 7, "boot", "", "", "now", "sources street")
        broker.put("runs/driver/000002", other.dumps())
        before = output.read_bytes()
        time.sleep(8.5)
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 1
        assert said == (
            "ERROR s3://shelf/runs/driver: this run was silent for too long, and another one has "
            f"taken its place: {other}; this one ends and writes no more\n"
        )
        assert output.read_bytes() == before


@pytest.mark.parametrize("wrong", ["bucket", "password", "silent"])
def test_a_store_that_does_not_serve_is_said_in_one_line_and_nothing_is_written(
    broker: Any, tmp_path: Path, wrong: str
) -> None:
    password = "another-w0rd" if wrong == "password" else PASSWORD
    state = state_at(broker, password=password)
    if wrong == "bucket":
        state = state.replace("&create=1", "")
    if wrong == "silent":
        broker.freeze()
    code, said = Machine(tmp_path / "m", lines_in(tmp_path / "shared"), state).run()
    if wrong == "silent":
        broker.thaw()
    assert code == 2
    at = f"maskstream: run.state_dir: s3://shelf at http://127.0.0.1:{broker.port}: "
    assert said.startswith(at)
    assert said.count("\n") == 1
    assert {
        "bucket": "there is no such bucket; make it, or add create=1\n",
        "password": "check user name (the access key), password (its secret) and rights\n",
        "silent": "Read timeout on endpoint URL",
    }[wrong] in said
    assert password not in said
    assert not (tmp_path / "shared").exists()


def test_a_damaged_checkpoint_is_named_by_its_address(broker: Any, tmp_path: Path) -> None:
    output = tmp_path / "shared" / "street.jsonl"
    machine = Machine(tmp_path / "m", lines_in(tmp_path / "shared"), state_at(broker))
    with started(machine, output):
        pass
    before = output.read_bytes()
    broker.put("runs/street.json", b'{"schema": "maskstr')
    code, said = machine.run()
    assert code == 2
    assert said.startswith(
        "maskstream: s3://shelf/runs/street.json: cannot read the checkpoint of 'street': "
    )
    assert said.endswith("; delete it to start from the beginning\n")
    assert output.read_bytes() == before
