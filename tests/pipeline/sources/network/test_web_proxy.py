"""Behind a proxy the hosts that are asked for count, not the one that is connected to."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.sources.network import reach
from pipeline.sources.network.address import Address
from pipeline.sources.network.asking import Asking
from pipeline.sources.network.link import LinkError, Opening
from pipeline.sources.network.tls import Trust

HOW = Opening(
    open_timeout_s=2.0, read_timeout_s=1.0, transport="tcp", max_pixels=10**6, trust=Trust()
)
PLACES = {
    "camera.example": ["93.184.216.34"],
    "cdn.example": ["93.184.216.35"],
    "inside.example": ["10.0.0.7"],
    "both.example": ["93.184.216.36", "10.0.0.8"],
    "127.0.0.1": ["127.0.0.1"],
}


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Where each URL leads to, and what the proxy was asked for; it is on the loopback address."""
    leads: dict[str, str] = {}
    asked: list[str] = []

    class Here(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if target := leads.get(self.path):
                self.send_response(302)
                self.send_header("Location", target)
            else:
                self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    def resolve(host: str, port: int, *_: Any, **more: Any) -> list[tuple[Any, ...]]:
        if host not in PLACES:
            raise OSError(f"unknown: {host}")
        return [(2, 1, 6, "", (place, port)) for place in PLACES[host]]

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Here) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
            monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv("no_proxy", "none.example")
        monkeypatch.setattr(reach.socket, "getaddrinfo", resolve)
        yield leads, asked
        server.shutdown()


@pytest.fixture
def ask() -> Callable[[str], int]:
    def asking(url: str) -> int:
        with Asking(Address.parse(url), HOW).ask(url, first=0, end=None) as answer:
            return answer.status

    return asking


def test_the_range_of_the_proxy_is_not_the_range_of_the_camera(
    proxy: tuple[dict[str, str], list[str]], ask: Callable[[str], int]
) -> None:
    leads, asked = proxy
    leads["http://camera.example/a"] = "http://cdn.example/b"
    assert ask("http://camera.example/a") == 200
    assert asked == ["http://camera.example/a", "http://cdn.example/b"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://127.0.0.1/b", "it leads to 127.0.0.1, a loopback address; refused"),
        ("http://127.0.0.%31/b", "it leads to 127.0.0.1, a loopback address; refused"),
        ("http://inside.example/b", "it leads to inside.example, a private address; refused"),
        ("https://inside.example/b", "it leads to inside.example, a private address; refused"),
        ("http://both.example/b", "it leads to both.example, a private address; refused"),
        (
            "http://secret.corp/b",
            "it leads to secret.corp, a name that does not resolve here; refused",
        ),
    ],
)
def test_a_camera_leads_into_no_other_network_behind_the_proxy(
    proxy: tuple[dict[str, str], list[str]], ask: Callable[[str], int], target: str, said: str
) -> None:
    leads, asked = proxy
    leads["http://camera.example/a"] = target
    with pytest.raises(LinkError) as refused:
        ask("http://camera.example/a")
    assert str(refused.value) == said
    assert asked == ["http://camera.example/a"]


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        ("inside.example", "cdn.example", True),
        ("inside.example", "inside.example", True),
        ("inside.example", "127.0.0.1", False),
        ("secret.corp", "other.corp", True),
        ("secret.corp", "cdn.example", True),
        ("secret.corp", "inside.example", False),
    ],
)
def test_the_first_host_behind_the_proxy_says_where_the_others_may_be(
    proxy: tuple[dict[str, str], list[str]],
    ask: Callable[[str], int],
    first: str,
    second: str,
    allowed: bool,
) -> None:
    leads, asked = proxy
    leads[f"http://{first}/a"] = f"http://{second}/b"
    if allowed:
        assert ask(f"http://{first}/a") == 200
    else:
        with pytest.raises(LinkError, match="refused"):
            ask(f"http://{first}/a")
    assert asked == [f"http://{first}/a", *([f"http://{second}/b"] if allowed else [])]


def test_a_proxy_that_refuses_is_no_camera(
    proxy: tuple[dict[str, str], list[str]], ask: Callable[[str], int]
) -> None:
    _, asked = proxy
    with pytest.raises(LinkError):
        ask("https://camera.example/a")
    assert asked == ["camera.example:443"]


def test_a_host_that_is_asked_without_the_proxy_is_connected_to(
    proxy: tuple[dict[str, str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float | None) -> Any:
        dialled.append(address)
        raise ConnectionRefusedError

    monkeypatch.setenv("no_proxy", "camera.example")
    monkeypatch.setattr(reach.socket, "create_connection", connect)
    with pytest.raises(LinkError, match="connection refused"):
        Asking(Address.parse("http://camera.example/"), HOW).ask(
            "http://camera.example/", first=0, end=None
        )
    assert dialled == [("93.184.216.34", 80)]
    assert proxy[1] == []
