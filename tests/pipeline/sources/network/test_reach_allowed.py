"""A source that somebody named from afar asks only hosts that are allowed, whenever it connects."""

import socket
import threading
from collections.abc import Iterator

import pytest

from pipeline.errors import SourceError
from pipeline.sources import open_source
from pipeline.sources.network.address import Address
from pipeline.sources.network.link import LinkError, Opening
from pipeline.sources.network.reach import HomeRange, is_allowed
from pipeline.sources.network.rtsp import resolve
from pipeline.sources.network.tls import Trust


class Door:
    """Notes who comes, says one thing, and hangs up."""

    def __init__(self, says: bytes) -> None:
        self.came = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.server.getsockname()[1])
        self._says = says
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            self.came += 1
            with client:
                client.recv(4096)
                client.sendall(self._says)


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    yield door
    door.server.shutdown(socket.SHUT_RDWR)
    door.server.close()


@pytest.mark.parametrize(
    ("allowed", "host", "place", "expected"),
    [
        ("*", "camera.example", "93.184.215.14", True),
        ("*", "camera.lan", "10.0.0.7", True),
        ("*", "localhost", "127.0.0.1", False),
        ("*", "camera.lan", "169.254.169.254", False),
        ("*", "camera.lan", "fd00:ec2::254", False),
        ("*", "camera.lan", "::ffff:127.0.0.1", False),
        ("*", "camera.lan", None, False),
        ("*.lan", "Camera.LAN.", "10.0.0.7", True),
        ("*.lan", "camera.example", "10.0.0.7", False),
        ("*.lan", "camera.lan", "127.0.0.1", False),
        ("localhost", "localhost", "127.0.0.1", True),
        ("proxied.example", "proxied.example", None, True),
        ("127.0.0.1", "localhost", "127.0.0.1", True),
        ("127.0.0.0/8", "localhost", "127.9.9.9", True),
        ("10.0.0.0/24", "camera.lan", "10.0.0.255", True),
        ("10.0.0.0/24", "camera.lan", "::ffff:10.0.0.9", True),
        ("10.0.0.0/24", "camera.lan", "10.0.1.0", False),
        ("fd00::/8", "camera.lan", "fd12::1", True),
    ],
)
def test_a_list_of_hosts(allowed: str, host: str, place: str | None, expected: bool) -> None:
    assert is_allowed([allowed], host, place) is expected
    assert is_allowed([], host, place) is False
    assert is_allowed(["elsewhere.example", allowed], host, place) is expected


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp"])
def test_a_name_that_leads_to_this_machine_is_not_connected_to(scheme: str, door: Door) -> None:
    url = f"{scheme}://localhost:{door.port}/x"
    source = open_source(url, source_id="a", reach=("*",), first_connect_s=0.0)
    with pytest.raises(SourceError, match="it leads to localhost, a loopback address; refused"):
        list(source.frames())
    assert door.came == 0


def test_one_that_is_allowed_is(door: Door) -> None:
    url = f"http://localhost:{door.port}/x"
    source = open_source(url, source_id="a", reach=("localhost",), first_connect_s=0.0)
    with pytest.raises(SourceError, match="404"):
        list(source.frames())
    assert door.came > 0


def test_a_redirect_stays_within_the_list() -> None:
    where = HomeRange(("10.0.0.0/8", "127.0.0.1"))
    where.judge("10.0.0.7")
    where.judge("10.1.0.7")
    for host in ("8.8.8.8", "127.0.0.1", "192.168.0.1", "not-there.invalid"):
        with pytest.raises(LinkError, match="refused"):
            where.judge(host)


def test_what_only_a_proxy_resolves_must_be_named() -> None:
    HomeRange(("not-there.invalid",)).judge("not-there.invalid")
    with pytest.raises(LinkError, match="a name that does not resolve here; refused"):
        HomeRange(("*",)).judge("not-there.invalid")


def test_ffmpeg_is_given_the_address_that_was_judged_and_not_the_name() -> None:
    door = Door(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n")
    how = Opening(
        open_timeout_s=2.0,
        read_timeout_s=1.0,
        transport="tcp",
        max_pixels=10**6,
        trust=Trust(),
        reach=("localhost",),
    )
    try:
        address = resolve(Address.parse(f"rtsp://u:p@localhost:{door.port}/cam?x=1"), how)
        assert address.full() == f"rtsp://u:p@127.0.0.1:{door.port}/cam?x=1"
    finally:
        door.server.shutdown(socket.SHUT_RDWR)
        door.server.close()
