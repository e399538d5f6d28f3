"""What an address leads to: how far, into which networks, and with whose credentials."""

from __future__ import annotations

import hashlib
import http.server
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.errors import SourceError
from pipeline.sources import open_source
from pipeline.sources.network import reach
from pipeline.sources.network.link import LinkError
from pipeline.sources.network.reach import HomeRange, check_step, range_of

Handler = http.server.BaseHTTPRequestHandler
Answer = Callable[[Handler], None]


class Elsewhere:
    """A second server, on another address of this machine, and what it was asked."""

    def __init__(self, content: bytes) -> None:
        self.asked: list[tuple[str, str | None]] = []
        elsewhere = self

        class Here(Handler):
            def do_GET(self) -> None:
                elsewhere.asked.append((self.path, self.headers.get("Authorization")))
                if self.path == "/guarded":
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="elsewhere"')
                    self.end_headers()
                else:
                    sends(content)(self)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.2", 0), Here)
        self.host = f"127.0.0.2:{self.server.server_port}"


def sends(content: bytes) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def leads_to(target: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    return answer


@pytest.fixture
def content(clips: Any) -> bytes:
    return bytes(clips.write("a.ts", options={"bf": "0"}).read_bytes())


@pytest.fixture
def elsewhere(content: bytes) -> Iterator[Elsewhere]:
    found = Elsewhere(content)
    thread = threading.Thread(target=found.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def first_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first server counts as one of the public network; the second stays what it is."""
    real = range_of
    monkeypatch.setattr(reach, "range_of", lambda a: "public" if a == "127.0.0.1" else real(a))


def read(url: str, **options: Any) -> int:
    limits = {"open_timeout_s": 2.0, "read_timeout_s": 1.0, "first_connect_s": 0.0}
    return len(list(open_source(url, source_id="gate", **{**limits, **options}).frames()))


def failure(url: str, **options: Any) -> str:
    with pytest.raises(SourceError) as failed:
        read(url, live=True, **options)
    assert "\n" not in str(failed.value)
    return str(failed.value).removesuffix("; gave up after 0 s")


def test_a_redirect_is_followed_to_another_host(server: Any, elsewhere: Elsewhere) -> None:
    host, answers = server
    answers["/a.ts"] = leads_to(f"http://{elsewhere.host}/b.ts")
    assert read(f"http://{host}/a.ts") == 10
    assert {path for path, _ in elsewhere.asked} == {"/b.ts"}


def test_five_redirects_are_followed_and_no_circles(server: Any, content: bytes) -> None:
    host, answers = server
    answers["/5"] = sends(content)
    for number in range(5):
        answers[f"/{number}"] = leads_to(f"/{number + 1}")
    assert read(f"http://{host}/0") == 10
    answers["/again"] = leads_to("/0")
    answers["/circle"] = leads_to("/circle")
    for path in ("/again", "/circle"):
        assert failure(f"http://{host}{path}") == (
            f"gate: http://{host}{path}: it redirects more than 5 times"
        )


@pytest.mark.parametrize("scheme", ["file", "ftp", "rtsp", "concat", "data", "gopher"])
def test_a_redirect_leads_to_no_other_scheme(server: Any, scheme: str) -> None:
    host, answers = server
    answers["/a.ts"] = leads_to(f"{scheme}://127.0.0.1/etc/hostname")
    assert failure(f"http://{host}/a.ts") == (
        f"gate: http://{host}/a.ts: it leads to {scheme}://, which is not allowed"
    )


@pytest.mark.usefixtures("first_is_public")
def test_a_redirect_leads_into_no_network_the_first_host_is_not_in(
    server: Any, elsewhere: Elsewhere
) -> None:
    host, answers = server
    answers["/a.ts"] = leads_to(f"http://{elsewhere.host}/b.ts")
    assert failure(f"http://{host}/a.ts") == (
        f"gate: http://{host}/a.ts: it leads to 127.0.0.2, a loopback address; refused"
    )
    assert elsewhere.asked == []


@pytest.mark.usefixtures("first_is_public")
@pytest.mark.parametrize("end", ["", "#EXT-X-ENDLIST\n"], ids=["camera", "recording"])
def test_a_playlist_leads_into_no_network_the_first_host_is_not_in(
    server: Any, elsewhere: Elsewhere, end: str
) -> None:
    host, answers = server
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://{elsewhere.host}/0.ts\n{end}"
    answers["/list.m3u8"] = sends(text.encode())
    assert (
        "a part of its playlist: it leads to 127.0.0.2, a loopback address; refused"
    ) in failure(f"http://{host}/list.m3u8")
    assert elsewhere.asked == []


def test_parts_of_a_playlist_may_lie_on_another_host(server: Any, elsewhere: Elsewhere) -> None:
    host, answers = server
    text = f"#EXTM3U\n#EXTINF:1,\nhttp://{elsewhere.host}/0.ts\n#EXT-X-ENDLIST\n"
    answers["/list.m3u8"] = sends(text.encode())
    assert read(f"http://{host}/list.m3u8") == 10


def test_encrypted_parts_are_refused_in_words(server: Any, content: bytes) -> None:
    host, answers = server
    answers["/key"], answers["/0.ts"] = sends(b"k" * 16), sends(content)
    text = '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="key"\n#EXTINF:1,\n0.ts\n#EXT-X-ENDLIST\n'
    answers["/list.m3u8"] = sends(text.encode())
    assert "its parts are encrypted, which is not read" in failure(f"http://{host}/list.m3u8")


def test_credentials_are_not_sent_on_to_another_host(server: Any, elsewhere: Elsewhere) -> None:
    host, answers = server

    def guarded(handler: Handler) -> None:
        if handler.headers.get("Authorization"):
            leads_to(f"http://{elsewhere.host}/guarded")(handler)
        else:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="here"')
            handler.end_headers()

    answers["/a.ts"] = guarded
    said = failure(f"http://{host}/a.ts", username="me", password="hunter22")
    assert "authentication refused (401)" in said
    assert elsewhere.asked == [("/guarded", None)]


def test_digest_authentication_is_answered(server: Any, content: bytes) -> None:
    host, answers = server

    def guarded(handler: Handler) -> None:
        said = dict(re.findall(r'(\w+)="?([^",]+)', handler.headers.get("Authorization", "")))

        def md5(*words: str) -> str:
            return hashlib.md5(":".join(words).encode()).hexdigest()

        expected = md5(
            md5("me", "cam", "hunter22"),
            *("n0nce", said.get("nc", ""), said.get("cnonce", ""), "auth"),
            md5("GET", "/a.ts"),
        )
        if said.get("response") == expected:
            sends(content)(handler)
        else:
            handler.send_response(401)
            handler.send_header(
                "WWW-Authenticate", 'Digest realm="cam", nonce="n0nce", qop="auth", algorithm=MD5'
            )
            handler.end_headers()

    answers["/a.ts"] = guarded
    assert read(f"http://{host}/a.ts", username="me", password="hunter22") == 10
    assert "authentication refused (401)" in failure(
        f"http://{host}/a.ts", username="me", password="wrong"
    )


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("0.0.0.0", "loopback"),
        ("169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.10", "private"),
        ("100.64.0.1", "private"),
        ("fd00::1", "private"),
        ("224.0.0.1", "private"),
        ("255.255.255.255", "private"),
        ("0.1.2.3", "private"),
        ("64:ff9b::127.0.0.1", "loopback"),
        ("64:ff9b::169.254.169.254", "link-local"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::8.8.8.8", "public"),
        ("64:ff9b:1::8.8.8.8", "private"),
        ("::127.0.0.1", "loopback"),
        ("::10.0.0.1", "private"),
        ("::8.8.8.8", "public"),
        ("::ffff:0:127.0.0.1", "loopback"),
        ("::ffff:0:8.8.8.8", "public"),
        ("2002:7f00:1::1", "loopback"),
        ("2002:a9fe:a9fe::1", "link-local"),
        ("2002:a00:1::1", "private"),
        ("2002:808:808::1", "public"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "private"),
        ("fec0::1", "private"),
        ("feff::1", "private"),
        ("ff0e::1", "private"),
        ("5f00::1", "private"),
        ("::", "loopback"),
        ("8.8.8.8", "public"),
        ("2001:4860:4860::8888", "public"),
    ],
)
def test_an_address_belongs_to_one_kind_of_network(address: str, found: str) -> None:
    assert range_of(address) == found


@pytest.mark.parametrize(
    ("home", "there", "allowed"),
    [
        ("192.168.1.10", "192.168.1.11", True),
        ("192.168.1.10", "8.8.8.8", True),
        ("192.168.1.10", "127.0.0.1", False),
        ("192.168.1.10", "169.254.169.254", False),
        ("8.8.8.8", "10.0.0.1", False),
        ("8.8.8.8", "9.9.9.9", True),
        ("127.0.0.1", "10.0.0.1", False),
    ],
)
def test_the_first_host_says_where_the_others_may_be(
    monkeypatch: pytest.MonkeyPatch, home: str, there: str, allowed: bool
) -> None:
    dialled = []

    def connect(address: tuple[str, int], timeout: float | None) -> socket.socket:
        dialled.append(address)
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    where = HomeRange()
    where.connect((home, 80)).close()
    if allowed:
        where.connect((there, 80)).close()
    else:
        with pytest.raises(LinkError, match=rf"^it leads to {re.escape(there)}, a .* address; ref"):
            where.connect((there, 80))
    assert dialled == [(home, 80), *([(there, 80)] if allowed else [])]


@pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0"])
def test_an_address_in_other_digits_is_what_it_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_: socket.socket())
    where = HomeRange()
    where.connect(("8.8.8.8", 80)).close()
    with pytest.raises(LinkError, match=rf"^it leads to {host}, a loopback address; refused"):
        where.connect((host, 80))
    where.judge("8.8.8.8")
    with pytest.raises(LinkError, match=rf"^it leads to {host}, a loopback address; refused"):
        where.judge(host)


def test_nothing_leads_out_of_encryption() -> None:
    assert check_step("http://a/b/c", "../d") == "http://a/d"
    assert check_step("http://a/b", "https://c/d") == "https://c/d"
    with pytest.raises(LinkError, match=r"^it leads from https:// to http://, which is not all"):
        check_step("https://a/b", "http://a/b")
