"""What an RTSP address leads to: as far, and with whose credentials, as behind HTTP."""

from __future__ import annotations

import hashlib
import re
import socketserver
import threading
from collections.abc import Callable, Iterator

import pytest

from pipeline import secrets
from pipeline.sources.live import opening
from pipeline.sources.live.opening import open_stream
from pipeline.sources.network import reach
from pipeline.sources.network.address import Address
from pipeline.sources.network.link import LinkError, Opening
from pipeline.sources.network.reach import range_of
from pipeline.sources.network.rtsp import resolve
from pipeline.sources.network.tls import Trust

HOW = Opening(
    open_timeout_s=2.0, read_timeout_s=1.0, transport="tcp", max_pixels=10**6, trust=Trust()
)
Fields = dict[str, str]
Answer = Callable[[str, Fields], tuple[str, *tuple[str, ...]]]
"""From the path and the fields of a request to a status and fields of its answer."""


class Rtsp:
    """A server of one answer, and what it was asked: method, path, agent, credentials."""

    def __init__(self, host: str) -> None:
        self.answer: Answer = lambda path, fields: ("200 OK",)
        self.asked: list[tuple[str, str, str, str]] = []
        rtsp = self

        class Here(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while (line := self.rfile.readline().decode()) not in ("", "\r\n"):
                    method, url, _ = line.split()
                    fields: Fields = {}
                    while (line := self.rfile.readline().decode().strip()) != "":
                        name, _, value = line.partition(": ")
                        fields[name] = value
                    self.wfile.write(rtsp.reply(method, url, fields))

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, block_on_close = True, False

            def handle_error(self, *_: object) -> None:
                """Who has seen enough hangs up."""

        self.server = Server((host, 0), Here)
        self.host = "{}:{}".format(*self.server.server_address)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def reply(self, method: str, url: str, fields: Fields) -> bytes:
        path = url.removeprefix(f"rtsp://{self.host}")
        agent, known = fields["User-Agent"].partition("/")[0], fields.get("Authorization", "")
        self.asked.append((method, path, re.sub(r"[\d.]+", "", agent), known.partition(" ")[0]))
        status, *more = (
            ("200 OK",)
            if method == "OPTIONS"
            else self.answer(path, {**fields, "method": method, "url": url})
        )
        return "\r\n".join(
            [f"RTSP/1.0 {status}", f"CSeq: {fields['CSeq']}", *more, "", ""]
        ).encode()


@pytest.fixture
def near() -> Iterator[Rtsp]:
    yield from serving("127.0.0.1")


@pytest.fixture
def far() -> Iterator[Rtsp]:
    yield from serving("127.0.0.2")


def serving(host: str) -> Iterator[Rtsp]:
    rtsp = Rtsp(host)
    yield rtsp
    rtsp.server.shutdown()
    rtsp.server.server_close()


def leads_to(target: str) -> Answer:
    return lambda path, fields: ("302 Moved", f"Location: {target}")


def found(url: str) -> str:
    return resolve(Address.parse(url), HOW).full()


def failure(url: str) -> LinkError:
    with pytest.raises(LinkError) as failed:
        open_stream(Address.parse(url), HOW)
    return failed.value


def test_an_address_that_leads_nowhere_else_stays_as_it_is(near: Rtsp) -> None:
    assert found(f"rtsp://me:hunter22@{near.host}/cam?a=1") == (
        f"rtsp://me:hunter22@{near.host}/cam?a=1"
    )
    assert near.asked == [
        ("OPTIONS", "/cam?a=1", "maskstream", ""),
        ("DESCRIBE", "/cam?a=1", "maskstream", ""),
    ]


def test_a_redirect_is_followed_to_another_host_without_the_password(near: Rtsp, far: Rtsp) -> None:
    near.answer = leads_to(f"rtsp://{far.host}/b")
    far.answer = lambda path, fields: ("200 OK", "Content-Length: 0")
    assert found(f"rtsp://me:hunter22@{near.host}/a") == f"rtsp://{far.host}/b"


def test_ffmpeg_asks_only_where_the_stream_is_and_tells_nobody_else_the_password(
    near: Rtsp, far: Rtsp
) -> None:
    def guarded(path: str, fields: Fields) -> tuple[str, *tuple[str, ...]]:
        if "Authorization" not in fields:
            return "401 Who", 'WWW-Authenticate: Basic realm="here"'
        return "302 Moved", f"Location: rtsp://{far.host}/b"

    near.answer = guarded
    failure(f"rtsp://me:hunter22@{near.host}/a")
    assert [known for *_, known in near.asked] == ["", "", "Basic"]
    assert {agent for _, _, agent, _ in near.asked} == {"maskstream"}
    assert {(path, known) for _, path, _, known in far.asked} == {("/b", "")}
    assert {agent for _, _, agent, _ in far.asked} == {"maskstream", "Lavf"}


def test_credentials_of_a_redirect_are_not_taken(near: Rtsp, far: Rtsp) -> None:
    near.answer = leads_to(f"rtsp://eve:mallory1@{far.host}/b?token=t0ken123")
    assert found(f"rtsp://{near.host}/a") == f"rtsp://{far.host}/b?token=t0ken123"
    assert "t0ken123" not in secrets.PROCESS._forms  # else it grows with every connection


def test_another_path_of_the_host_is_told_the_password(near: Rtsp) -> None:
    near.answer = lambda path, fields: (
        ("200 OK",) if path == "/b" else ("301 Moved", f"Location: rtsp://{near.host}/b")
    )
    assert found(f"rtsp://me:hunter22@{near.host}/a") == f"rtsp://me:hunter22@{near.host}/b"


def test_five_redirects_are_followed_and_no_circles(near: Rtsp) -> None:
    def counted(path: str, fields: Fields) -> tuple[str, *tuple[str, ...]]:
        if path == "/5":
            return ("200 OK",)
        return "302 Moved", f"Location: rtsp://{near.host}/{int(path[1:]) + 1}"

    near.answer = counted
    assert found(f"rtsp://{near.host}/0") == f"rtsp://{near.host}/5"
    near.answer = leads_to(f"rtsp://{near.host}/0")
    near.asked.clear()
    refused = failure(f"rtsp://{near.host}/0")
    assert (str(refused), refused.patient) == ("it redirects more than 5 times", True)
    assert len(near.asked) == 12


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://127.0.0.1/x", "it leads to http://, which is not allowed"),
        ("file:///etc/hostname", "it leads to file://, which is not allowed"),
        ("tcp://127.0.0.1:1", "it leads to tcp://, which is not allowed"),
        ("rtsp://host:99999/", "what answers does not speak RTSP as it should"),
    ],
)
def test_a_redirect_leads_to_no_other_scheme(near: Rtsp, target: str, said: str) -> None:
    near.answer = leads_to(target)
    assert str(failure(f"rtsp://{near.host}/a")) == said


def test_a_redirect_leads_into_no_network_the_first_host_is_not_in(
    near: Rtsp, far: Rtsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "range_of", lambda a: "public" if a == "127.0.0.1" else range_of(a))
    near.answer = leads_to(f"rtsp://{far.host}/b")
    assert str(failure(f"rtsp://{near.host}/a")) == (
        "it leads to 127.0.0.2, a loopback address; refused"
    )
    assert far.asked == []


@pytest.mark.parametrize(("algorithm", "known"), [("MD5", "md5"), ("SHA-256", "sha256")])
@pytest.mark.parametrize("qop", ["", ', qop="auth"'])
def test_a_digest_is_answered_before_clear_text(
    near: Rtsp, algorithm: str, known: str, qop: str
) -> None:
    def digest(*words: str) -> str:
        return hashlib.new(known, ":".join(words).encode()).hexdigest()

    def guarded(path: str, fields: Fields) -> tuple[str, *tuple[str, ...]]:
        said = dict(re.findall(r'(\w+)="?([^",]+)', fields.get("Authorization", "")))
        once = (said.get("nc", ""), said.get("cnonce", ""), "auth") if qop else ()
        inner = digest("me", "cam, 1", "hunter22"), "n0nce", *once
        if said.get("response") == digest(*inner, digest(fields["method"], fields["url"])):
            return "302 Moved", f"Location: rtsp://{near.host}/open"
        if path == "/open":
            return ("200 OK",)
        asks = f'Digest realm="cam, 1", nonce="n0nce", algorithm={algorithm}{qop}'
        return "401 Who", 'WWW-Authenticate: Basic realm="x"', f"WWW-Authenticate: {asks}"

    near.answer = guarded
    assert found(f"rtsp://me:hunter22@{near.host}/a") == f"rtsp://me:hunter22@{near.host}/open"
    refused = failure(f"rtsp://me:wrong@{near.host}/a")
    assert str(refused) == "authentication refused (401); check user name and password"
    assert "Basic" not in {said for *_, said in near.asked}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (("404 Nope",), "no such stream there (404); check the path"),
        (("503 Later",), "the server reports an error of its own (5xx)"),
        (("200 OK", "Content-Length: 2000000000"), "its description is longer than 1 MB"),
        (("200 OK", "Content-Length: -1"), "its description is longer than 1 MB"),
        (("200 OK", "X: " + "x" * 70_000), "its answer is longer than 64 kB"),
        (("200 OK", *["X: x"] * 200), "what answers does not speak RTSP as it should"),
        (("200 OK", "Content-Length: x"), "what answers does not speak RTSP as it should"),
        (("no number",), "what answers does not speak RTSP as it should"),
    ],
)
def test_what_a_server_answers_is_bounded_and_said(
    near: Rtsp, answer: tuple[str, *tuple[str, ...]], said: str
) -> None:
    near.answer = lambda path, fields: answer
    assert str(failure(f"rtsp://{near.host}/a")) == said


def test_a_name_that_does_not_resolve_is_said() -> None:
    assert str(failure("rtsp://no.such.host.invalid/a")) == (
        "the name no.such.host.invalid does not resolve"
    )


def test_an_encrypted_camera_that_ffmpeg_would_ask_a_proxy_for_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(opening, "resolve", lambda address, how: address)
    assert str(failure("rtsps://127.0.0.1:9/a")) == (
        "it cannot go through the proxy of http_proxy; name its host in no_proxy"
    )


def test_a_description_of_gigabytes_is_not_taken_in_from_a_server_that_hides_it_first(
    near: Rtsp,
) -> None:
    def hiding(path: str, fields: Fields) -> tuple[str, *tuple[str, ...]]:
        size = 0 if fields["User-Agent"] == "maskstream" else 2_000_000_000
        return "200 OK", "Content-Type: application/sdp", f"Content-Length: {size}"

    near.answer = hiding
    assert str(failure(f"rtsp://{near.host}/a")) == "what comes is no video stream"
    assert near.asked[-1][:3] == ("DESCRIBE", "/a", "Lavf")
