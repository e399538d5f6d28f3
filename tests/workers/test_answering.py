"""What a run answers over HTTP."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection

import pytest

from pipeline.accounting import StreamCounts
from pipeline.errors import ConfigError
from pipeline.metrics.counts import RunCounts, WorkerCounts
from workers.answering import answering


@dataclass
class Run:
    counts: RunCounts = field(default_factory=RunCounts)
    healthy: bool = True


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def port(run: Run) -> Iterator[int]:
    with answering("127.0.0.1", 0, counts=lambda: run.counts, healthy=lambda: run.healthy) as port:
        assert port is not None
        yield port


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_metrics_are_those_of_this_moment(run: Run, port: int) -> None:
    for published in (3, 5):
        run.counts = RunCounts(streams=(StreamCounts("gate", published=published),))
        status, page = ask(port, "/metrics")
        assert status == 200
        expected = f'maskstream_frames_published_total{{source_id="gate"}} {published}.0'
        assert expected in page.splitlines()


def test_health_and_readiness_say_so_by_their_status(run: Run, port: int) -> None:
    assert ask(port, "/healthz") == (200, "ok\n")
    assert ask(port, "/readyz") == (503, "not now\n")
    run.counts = RunCounts(
        streams=(StreamCounts("gate", "streaming"),), workers=(WorkerCounts("w", "ready"),)
    )
    assert ask(port, "/readyz") == (200, "ok\n")
    run.healthy = False
    assert ask(port, "/healthz") == (503, "not now\n")
    assert ask(port, "/readyz") == (503, "not now\n")


def test_other_paths_and_methods_are_refused(port: int) -> None:
    assert ask(port, "/")[0] == 404
    assert ask(port, "/../etc/passwd")[0] == 404
    assert ask(port, "/metrics", "HEAD") == (200, "")
    for method in ("POST", "PUT", "DELETE"):
        assert ask(port, "/metrics", method)[0] == 405


def test_nothing_listens_without_a_port(run: Run) -> None:
    with answering("127.0.0.1", None, counts=lambda: run.counts) as port:
        assert port is None


def test_a_port_that_is_taken_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError) as caught,
            answering("127.0.0.1", port, counts=lambda: run.counts),
        ):
            pass
    assert str(caught.value) == (
        f"metrics.port: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another, or 0 for a free one"
    )


def test_the_port_is_free_again_afterwards(run: Run) -> None:
    with answering("127.0.0.1", 0, counts=lambda: run.counts) as port:
        pass
    with answering("127.0.0.1", port, counts=lambda: run.counts) as again:
        assert again == port


def test_a_question_mark_and_what_is_behind_it_change_nothing(port: int) -> None:
    assert ask(port, "/healthz?verbose=1") == (200, "ok\n")
    assert ask(port, "/metrics?name[]=up")[0] == 200


def test_a_page_whose_name_was_made_to_point_here_is_told_nothing(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/metrics", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 403
    connection.close()


def test_a_fault_of_our_own_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> RunCounts:
        raise ZeroDivisionError("no streams")

    with answering("127.0.0.1", 0, counts=broken) as port:
        assert port is not None
        assert ask(port, "/metrics")[0] == 500
        assert ask(port, "/healthz")[0] == 200
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert record.message == "no answer to GET /metrics: ZeroDivisionError('no streams')"
    assert record.exc_info is None


def test_without_a_port_no_server_is_loaded() -> None:
    text = (
        "import sys; from workers.answering import answering\n"
        "with answering('127.0.0.1', None, counts=None): pass\n"
        "print([name for name in ('fastapi', 'uvicorn') if name in sys.modules])"
    )
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"
