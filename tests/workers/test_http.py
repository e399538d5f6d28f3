"""What a run answers over HTTP."""

import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection, RemoteDisconnected

import pytest

from pipeline.accounting import StreamCounts
from pipeline.errors import ConfigError
from pipeline.metrics.counts import RunCounts, WorkerCounts
from workers.http import serve
from workers.http.server import MAX_CONNECTIONS, _Server


@dataclass
class Run:
    counts: RunCounts = field(default_factory=RunCounts)
    healthy: bool = True


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def port(run: Run) -> Iterator[int]:
    with serve("127.0.0.1", 0, counts=lambda: run.counts, healthy=lambda: run.healthy) as port:
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
        assert ask(port, "/metrics", method)[0] == 501


def test_nothing_listens_without_a_port(run: Run) -> None:
    with serve("127.0.0.1", None, counts=lambda: run.counts) as port:
        assert port is None


def test_a_port_that_is_taken_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError) as caught,
            serve("127.0.0.1", port, counts=lambda: run.counts),
        ):
            pass
    assert str(caught.value) == (
        f"metrics.port: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another, or 0 for a free one"
    )


def test_the_port_is_free_again_afterwards(run: Run) -> None:
    with serve("127.0.0.1", 0, counts=lambda: run.counts) as port:
        pass
    with serve("127.0.0.1", port, counts=lambda: run.counts) as again:
        assert again == port


def test_a_question_mark_and_what_is_behind_it_change_nothing(port: int) -> None:
    assert ask(port, "/healthz?verbose=1") == (200, "ok\n")
    assert ask(port, "/metrics?name[]=up")[0] == 200


def test_hundreds_of_idle_connections_keep_nobody_waiting(port: int) -> None:
    with ExitStack() as idle:
        for _ in range(300):
            idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        assert ask(port, "/healthz") == (200, "ok\n")
        deadline = time.monotonic() + 10
        while threading.active_count() > MAX_CONNECTIONS + 20 and time.monotonic() < deadline:
            threading.Event().wait(0.01)  # those that were told to go need their turn
        assert threading.active_count() <= MAX_CONNECTIONS + 20


def test_the_oldest_idle_connection_gives_way(port: int) -> None:
    with ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            for _ in range(MAX_CONNECTIONS + 1)
        ]
        assert idle[0].recv(1) == b""


def test_as_many_connections_as_are_served_may_wait_to_be_accepted(run: Run) -> None:
    assert _Server.request_queue_size >= MAX_CONNECTIONS


def test_a_client_that_leaves_early_prints_nothing(
    port: int, run: Run, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def reset() -> None:
        client = socket.create_connection(("127.0.0.1", port), timeout=5)
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    with caplog.at_level(logging.DEBUG, "workers.http.server"):
        reset()
        deadline = time.monotonic() + 10
        while "no answer to" not in caplog.text and time.monotonic() < deadline:
            assert ask(port, "/healthz") == (200, "ok\n")
    assert [record.levelname for record in caplog.records if "no answer" in record.message] == [
        "DEBUG"
    ]
    assert capfd.readouterr().err == ""


def test_a_fault_of_our_own_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> RunCounts:
        raise ZeroDivisionError("no streams")

    with serve("127.0.0.1", 0, counts=broken) as port:
        assert port is not None
        with pytest.raises(RemoteDisconnected):
            ask(port, "/metrics")
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert record.message.startswith("metrics: no answer to ('127.0.0.1', ")
    assert record.message.endswith("ZeroDivisionError('no streams')")
    assert record.exc_info is None
