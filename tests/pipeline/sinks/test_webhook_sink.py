"""Webhooks: what is posted, and what becomes of it by what is answered."""

from __future__ import annotations

import hashlib
import hmac
import json
import runpy
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.client import Message, NotSent, Rejected, Unreachable, Unwelcome
from pipeline.delivery.packing import Packing
from pipeline.errors import ConfigError
from pipeline.formats import jsonl
from pipeline.formats.encoded import ENCODINGS, decoded
from pipeline.results import FrameResult
from pipeline.sinks import open_sink, webhook
from pipeline.testing import check_sink, make_end, make_frame, make_instances

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "consume_webhook.py"

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class Receiver(ThreadingHTTPServer):
    """Answers what it is told to, 204 by default, and keeps what was posted."""

    answers: list[tuple[int, dict[str, str], bytes]]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.posts = [], []  # type: ignore[var-annotated]
        self.hold = threading.Event()
        self.hold.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, dict(self.headers), body))
        self.server.hold.wait(20)
        status, headers, text = (self.server.answers or [(204, {}, b"")]).pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=lambda: server.serve_forever(0.01))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    with serving(server):
        yield server
        server.hold.set()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    """Opens sinks by URL; gives the client, connected."""
    sinks: list[Any] = []

    def open_(url: str) -> Any:
        spool = str(tmp_path / f"spool{len(sinks)}")
        sinks.append(open_sink(url, source_id="gate", run="r", labels={}, spool=spool))
        sinks[-1].client.connect()
        return sinks[-1].client

    yield open_
    for sink in sinks:
        sink.client.close()
        sink.close()


def messages(*numbers: int) -> Sequence[Message]:
    return [Message("gate", f"r:gate:0:{n}", b'{"frame":%d}' % n) for n in numbers]


def test_a_record_is_posted_as_it_is_with_its_key(receiver: Receiver, opened: Any) -> None:
    opened(f"{receiver.url}/hooks/gate").send(messages(7))
    ((path, headers, body),) = receiver.posts
    assert (path, body) == ("/hooks/gate", b'{"frame":7}')
    assert headers["Idempotency-Key"] == "r:gate:0:7"
    assert headers["Content-Type"] == "application/json"
    assert "Maskstream-Signature" not in headers
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("msgpack", {"Content-Type": "application/vnd.msgpack"}),
        ("zstd", {"Content-Type": "application/json", "Content-Encoding": "zstd"}),
    ],
)
def test_what_is_encoded_says_how(
    receiver: Receiver, opened: Any, name: str, said: dict[str, str]
) -> None:
    (message,) = messages(7)
    packed = Packing(ENCODINGS[name]).packed(message)
    opened(f"{receiver.url}?encoding={name}").send([packed])
    ((_, headers, body),) = receiver.posts
    assert {key: headers.get(key) for key in said} == said
    assert (body, decoded(body)) == (packed.body, {"frame": 7})


def test_a_batch_is_lines_with_a_key_for_each_and_signed(
    receiver: Receiver, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "s3cret-w0rd")
    client = opened(f"{receiver.url}/?batch=3&secret_env=HOOK")
    assert client.batch == 3
    client.send(messages(1, 2))
    ((_, headers, body),) = receiver.posts
    assert body == b'{"frame":1}\n{"frame":2}'
    assert headers["Idempotency-Key"] == "r:gate:0:1,r:gate:0:2"
    assert headers["Content-Type"] == "application/x-ndjson"
    signature = hmac.new(b"s3cret-w0rd", body, hashlib.sha256).hexdigest()
    assert headers["Maskstream-Signature"] == f"sha256={signature}"


@pytest.mark.parametrize(
    ("who", "authorization"),
    [("me:w0rd@", "Basic bWU6dzByZA=="), (":t0ken@", "Bearer t0ken")],
)
def test_a_password_without_a_name_is_a_token(
    who: str, authorization: str, receiver: Receiver, opened: Any
) -> None:
    opened(receiver.url.replace("//", f"//{who}")).send(messages(1))
    assert receiver.posts[0][1]["Authorization"] == authorization


@pytest.mark.parametrize(
    ("status", "headers", "kind", "said", "later_s"),
    [
        (500, {}, Unreachable, "answers 500", 0),
        (503, {"Retry-After": "7"}, Unreachable, "answers 503", 7),
        (429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, Unreachable, "answers 429", 0),
        (429, {"Retry-After": "soon"}, Unreachable, "answers 429", 0),
        (408, {}, Unreachable, "answers 408", 0),
        (401, {}, Unwelcome, "answers 401: check user name and password, or the token", 0),
        (404, {}, Unwelcome, "answers 404: nothing takes records at this address", 0),
        (
            302,
            {"Location": "http://127.0.0.1:1/"},
            Unwelcome,
            "answers 302: redirects are not followed; name the new address",
            0,
        ),
        (422, {}, Rejected, "answers 422 to 11 bytes: not so", 0),
        (413, {}, Rejected, "answers 413 to 11 bytes: not so", 0),
    ],
)
def test_what_is_answered_says_what_is_done(
    status: int,
    headers: dict[str, str],
    kind: type[NotSent],
    said: str,
    later_s: float,
    receiver: Receiver,
    opened: Any,
) -> None:
    client = opened(receiver.url)
    receiver.answers = [(status, headers, b"not\n so")]
    with pytest.raises(kind) as error:
        client.send(messages(1))
    assert str(error.value) == f"{receiver.url}: {said}"
    assert getattr(error.value, "retry_after_s", 0) == later_s
    client.send(messages(1))  # over the same connection
    assert len(receiver.posts) == 2


def test_what_is_refused_together_is_posted_one_by_one(receiver: Receiver, opened: Any) -> None:
    client = opened(f"{receiver.url}?batch=9")
    receiver.answers = [(400, {}, b""), (204, {}, b""), (204, {}, b""), (400, {}, b"")]
    with pytest.raises(Rejected) as error:
        client.send(messages(0, 1, 2, 3))
    assert error.value.acknowledged == 2
    assert [body for _, _, body in receiver.posts[1:]] == [b'{"frame":%d}' % n for n in range(3)]


def test_who_does_not_answer_is_asked_again(
    receiver: Receiver, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.05)
    client = opened(receiver.url)
    receiver.hold.clear()
    with pytest.raises(Unreachable, match=r"^http://127.0.0.1:\d+: "):
        client.send(messages(1))
    receiver.hold.set()
    client.close()
    client.connect()
    client.send(messages(1))
    with pytest.raises(Unreachable, match="Connection refused"):
        opened("http://127.0.0.1:1/").send(messages(1))


def test_a_secret_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        open_sink("https://hooks/x?secret_env=NO_SUCH", source_id="a", run="r", labels={})
    assert str(error.value) == "sink https://hooks: the environment has no NO_SUCH (secret_env)"


def test_the_receiver_of_the_examples_reads_what_was_sent(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOOK", "s3cret-w0rd")
    monkeypatch.setenv("WRONG", "another")
    server = runpy.run_path(str(EXAMPLE))["receiver"](0, "s3cret-w0rd", str(tmp_path / "drawn"))
    with serving(server):
        url = f"http://127.0.0.1:{server.server_port}/?batch=2&secret_env="
        sent = records(3)
        client = opened(f"{url}HOOK")
        client.send(sent[:2])
        client.send(sent[1:3])  # the second comes twice
        client.send(sent[3:])
        with pytest.raises(Unwelcome, match="answers 403"):
            opened(f"{url}WRONG").send(sent[:1])
        client.close()
    assert capsys.readouterr().out.splitlines() == [
        *(f"frame {number}: red covers 16 pixels" for number in range(3)),
        "run run has ended",
    ]
    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert drawn == [f"{number:08d}.png" for number in range(3)]


def records(count: int) -> list[Message]:
    found = []
    for number in range(count):
        frame = make_frame(number, source_id="gate")
        instances = make_instances(1, size=frame.size)
        one = FrameResult.of(frame, instances, run="r", model="m", labels={1: "red"})
        found.append(Message("gate", one.key, json.dumps(jsonl.record(one)).encode()))
    end = make_end(source_id="gate")
    return [*found, Message("gate", "r:gate:end", jsonl.dumps(end))]


def test_it_passes_the_kit_also_where_the_receiver_is_away(
    receiver: Receiver, tmp_path: Path
) -> None:
    class Away(list[Any]):
        def pop(self, index: Any = -1) -> Any:
            receiver.posts.pop()  # it was not taken
            return 503, {}, b""

    @contextmanager
    def away() -> Iterator[None]:
        receiver.answers = Away([None])
        yield
        receiver.answers = []

    def opened(folder: Path, overwrite: bool) -> Any:
        url, spool = f"{receiver.url}/{folder.name}", str(folder / "spool")
        return open_sink(url, source_id="cam", run="run", labels={1: "red"}, spool=spool)

    def taken(folder: Path) -> list[str]:
        """The keys in the order in which they were taken."""
        keys = [
            headers["Idempotency-Key"]
            for path, headers, _ in receiver.posts
            if path == f"/{folder.name}"
        ]
        return list(dict.fromkeys(keys))

    check_sink(opened, taken, tmp_path, away=away)
    assert len(taken(tmp_path / "whole")) == 13
