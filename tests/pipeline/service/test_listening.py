"""Who is connected and does not ask, or does not take what is sent, keeps nobody waiting."""

import asyncio
import logging
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPSConnection

import pytest

from pipeline.errors import ConfigError
from pipeline.service import entrance
from pipeline.service.listening import listening

KEEP_ALIVE = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class App:
    """Answers with so many bytes, once it may."""

    def __init__(self) -> None:
        self.body = b"here"
        self.held = threading.Event()
        self.held.set()
        self.asked = threading.Semaphore(0)
        self.done = threading.Event()

    async def __call__(self, scope, receive, send) -> None:
        if scope["path"] == "/held":
            self.asked.release()
            await asyncio.to_thread(self.held.wait, 20)
        if scope["path"] == "/blocked":  # and so is everybody else
            self.asked.release()
            self.held.wait(20)
        length = str(len(self.body)).encode()
        head = {"type": "http.response.start", "status": 200}
        await send({**head, "headers": [(b"content-length", length)]})
        for start in range(0, len(self.body), 1 << 16):
            part = self.body[start : start + (1 << 16)]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.done.set()


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def port(app: App) -> Iterator[int]:
    with listening(app, "127.0.0.1", 0, key="serve.port") as port:
        yield port


def ask(port: int, path: str = "/") -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


@pytest.fixture
def connect(port: int) -> Iterator[Callable[[], socket.socket]]:
    with ExitStack() as stack:

        def connect(to: int = port) -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", to), timeout=5))

        yield connect


def is_cut_off(client: socket.socket) -> bool:
    """Waits until it is."""
    try:
        while client.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    return True


def test_a_thousand_idle_connections_keep_nobody_waiting(port, connect) -> None:
    idle = [connect() for _ in range(1000)]
    assert ask(port) == b"here"
    assert all(is_cut_off(client) for client in idle[: 1000 - entrance.MOST])


def test_who_has_asked_is_heard_before_all_of_a_flood_is_let_in(port, connect, app: App) -> None:
    app.held.clear()
    blocker = connect()
    blocker.sendall(b"GET /blocked HTTP/1.1\r\nHost: x\r\n\r\n")
    assert app.asked.acquire(timeout=5)
    late = connect()
    late.sendall(KEEP_ALIVE.encode())
    flood = [connect() for _ in range(entrance.MOST + 400)]
    app.held.set()
    assert late.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
    assert is_cut_off(flood[0])


def test_who_is_being_answered_does_not_give_way(port, connect, app: App) -> None:
    app.held.clear()
    held = connect()
    held.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
    assert app.asked.acquire(timeout=5)
    idle = [connect() for _ in range(entrance.MOST)]
    assert is_cut_off(idle[0])
    app.held.set()
    assert held.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")


def test_who_never_ends_a_request_is_cut_off(monkeypatch, port, connect) -> None:
    monkeypatch.setattr(entrance, "ASKS_WITHIN_S", 0.3)
    silent, slow = connect(), connect()
    slow.sendall(b"GET / HTTP/1.1\r\nX-Pad: ")
    stop = threading.Event()

    def drip() -> None:
        try:
            while not stop.wait(0.02):
                slow.sendall(b"x")
        except OSError:
            pass

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert is_cut_off(silent)
        assert is_cut_off(slow)
    finally:
        stop.set()
        thread.join()


def test_who_were_silent_together_are_cut_off_one_after_another(monkeypatch, port, connect) -> None:
    monkeypatch.setattr(entrance, "ASKS_WITHIN_S", 0.3)
    monkeypatch.setattr(entrance, "CUTS_EVERY_S", 60.0)
    first, second = connect(), connect()
    assert is_cut_off(first)
    second.sendall(KEEP_ALIVE.encode())  # its turn has not come
    assert second.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")


def test_the_rest_of_a_body_that_is_refused_is_read_and_the_next_request_is_answered(port) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(2):
        connection.request("POST", "/", bytes(3 << 20))  # of which the application reads nothing
        assert connection.getresponse().read() == b"here"
    connection.close()


def test_turns_lie_apart() -> None:
    turns = entrance.Spacing(0.5)
    assert [turns.next_s(8.0) for _ in range(3)] == [8.0, 8.5, 9.0]
    assert turns.next_s(20.0) == 20.0


def test_who_does_not_take_the_answer_is_cut_off(monkeypatch, port, connect, app: App) -> None:
    monkeypatch.setattr(entrance, "TAKES_WITHIN_S", 0.3)
    app.body = bytes(32 << 20)
    client = connect()
    client.sendall(KEEP_ALIVE.encode())
    assert app.done.wait(10)  # nothing of it is read
    assert ask(port) == app.body  # who reads gets all


def test_one_connection_asks_again_and_again(port) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(3):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"here"
    connection.close()


def test_headers_are_bounded(port, connect) -> None:
    client = connect()
    client.sendall(b"GET / HTTP/1.1\r\nX-Pad: " + b"x" * (1 << 17))
    said = b""
    try:
        while more := client.recv(1 << 16):
            said += more
    except ConnectionResetError:
        pass
    assert said.startswith(b"HTTP/1.1 400 ")


def test_what_is_no_http_prints_nothing(port, connect, caplog, capfd) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"\0" * 1000, b"SSH-2.0-x\r\n"):
        client = connect()
        client.sendall(garbage + b"\r\n\r\n")
        is_cut_off(client)
    reset = connect()
    reset.sendall(b"GET / HTTP/1.1\r\n")
    reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reset.close()
    assert ask(port) == b"here"
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert capfd.readouterr().err == ""


def test_over_tls_too_the_silent_give_way(tls_pair, app: App, connect) -> None:
    cert, _ = tls_pair
    with listening(app, "127.0.0.1", 0, key="serve.port", tls=tls_pair) as port:
        idle = [connect(port) for _ in range(entrance.MOST + 1)]
        assert is_cut_off(idle[0])
        trust = ssl.create_default_context(cafile=cert)
        connection = HTTPSConnection("localhost", port, timeout=5, context=trust)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"here"
        connection.close()


def test_a_port_that_is_taken_is_refused_in_one_line_with_the_way_out(port, app: App) -> None:
    with (
        pytest.raises(ConfigError) as refused,
        listening(app, "127.0.0.1", port, key="serve.port"),
    ):
        pass
    assert str(refused.value) == (
        f"serve.port: cannot listen on 127.0.0.1:{port}: Address already in use; choose another, "
        "or 0 for a free one"
    )
