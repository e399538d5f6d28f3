"""However much a sender of RTSP, RTMP or UDP sends, a source holds a bounded part and gives up."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count, repeat
from pathlib import Path

import pytest

pytestmark = [pytest.mark.servers, pytest.mark.timeout(90)]

MOST_MB = 1200
"""Eight pieces of the largest size, with a little around them; without a bound it was 2,900."""
BLOCK = bytes(range(1, 256)) * 4096
READ = """
import json, re, sys
import av, cv2
from pipeline.errors import SourceError
from pipeline.sources import open_source

def peak_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

list(av.open(sys.argv[2]).decode(video=0))
before = peak_mb()
source = open_source(sys.argv[1], source_id="gate", first_connect_s=0.0)
try:
    said = str(sum(1 for _ in source.frames()))
except SourceError as error:
    said = str(error)
print(json.dumps([said, peak_mb() - before]))
"""
SDP = (
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"
)
Sends = Iterator[bytes]


def described(sdp: bytes, length: int | None = None) -> bytes:
    size = len(sdp) if length is None else length
    return b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % size + sdp


def packets(first: bytes, others: bytes, step: int = 1) -> Sends:
    """RTP over the connection, numbered."""
    for number in count(0, step):
        body = struct.pack(">BBHII", 0x80, 96, number & 0xFFFF, 1000, 7)
        body += (others if number else first) + BLOCK[:60_000]
        yield b"$\0" + struct.pack(">H", len(body)) + body


def speak_rtsp(connection: socket.socket, method: str, more: Callable[[], Sends]) -> None:
    """Answer until FFmpeg asks for `method`, and then send without end."""
    asked = connection.makefile("rb")
    while words := asked.readline().decode().split():
        fields = dict.fromkeys(("cseq", "user-agent"), "")
        while line := asked.readline().decode().strip():
            name, _, value = line.partition(": ")
            fields[name.lower()] = value
        head = f"RTSP/1.0 200 OK\r\nCSeq: {fields['cseq']}\r\nSession: 1\r\n".encode()
        if words[0] == method and fields["user-agent"].startswith("Lavf"):
            connection.sendall(head + (b"\r\n" if method == "PLAY" else b""))
            for block in more():
                connection.sendall(block)
        transport = b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
        rest = {"DESCRIBE": described(SDP), "SETUP": transport}.get(words[0], b"\r\n")
        connection.sendall(head + rest)


def speak_rtmp(connection: socket.socket, more: Callable[[], Sends]) -> None:
    said = b""
    while len(said) < 1537:
        said += connection.recv(4096)
    connection.sendall(b"\x03" + bytes(1536) + said[1:1537])
    for block in more():
        connection.sendall(block)


def many_messages() -> Sends:
    """Sixteen megabytes announced on each of sixty streams."""
    for number in count():
        yield bytes([3 + number % 60]) + b"\0\0\0\xff\xff\xff\x09\1\0\0\0" + BLOCK[:128]


RTSP: dict[str, tuple[str, Callable[[], Sends]]] = {
    "description-of-2-gb": ("DESCRIBE", lambda: repeat(described(b"", 2_000_000_000) + BLOCK)),
    "description-of-many": (
        "DESCRIBE",
        lambda: iter([described(SDP + b"m=video 0 RTP/AVP 96\r\n" * 200_000)]),
    ),
    "headers-without-end": ("OPTIONS", lambda: repeat(b"X-Pad: " + b"x" * 1000 + b"\r\n")),
    "a-line-without-end": ("OPTIONS", lambda: repeat(b"x" * 100_000)),
    "picture-without-end": ("PLAY", lambda: packets(b"\x7c\x85", b"\x7c\x05")),
    "lost-packets": ("PLAY", lambda: packets(b"\x7c\x85", b"\x7c\x05", 2)),
    "settings-without-end": ("PLAY", lambda: packets(b"\x67", b"\x67")),
    "reports": ("PLAY", lambda: repeat(b"$\1\0\x1c\x80\xc8\0\6" + bytes(24))),
    "another-channel": ("PLAY", lambda: repeat(b"$\x09\xea\x60" + bytes(60_000))),
    "garbage": ("PLAY", lambda: repeat(BLOCK)),
}
RTMP: dict[str, Callable[[], Sends]] = {
    "messages": many_messages,
    "garbage": lambda: repeat(BLOCK),
}
UDP: dict[str, Callable[[], Sends]] = {
    "empty-packets": lambda: repeat(b"\x47\x1f\xff\x10" + bytes(184)),
    "garbage": lambda: repeat(BLOCK[:60_000]),
    "packet-without-end": lambda: repeat(b"\x47\x01\x00\x10" + BLOCK[:184]),
}


@pytest.fixture
def listening() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Starts a server of one connection after the other; its port."""
    servers: list[socket.socket] = []

    def start(speak: Callable[[socket.socket], None]) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        speak(connection)
                    except OSError:
                        continue

        threading.Thread(target=run, daemon=True).start()
        return int(server.getsockname()[1])

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture
def grown_mb(numbered_clip: Path) -> Callable[[str], float]:
    """How much a process grows that reads an address until it gives up."""

    def measure(url: str) -> float:
        command = [sys.executable, "-c", READ, url, str(numbered_clip)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        said, grown = json.loads(done.stdout.splitlines()[-1])
        assert said.startswith("gate: ")
        return float(grown)

    return measure


@pytest.mark.parametrize("name", RTSP)
def test_rtsp_without_end_is_given_up(
    listening: Callable[..., int], grown_mb: Callable[[str], float], name: str
) -> None:
    port = listening(lambda connection: speak_rtsp(connection, *RTSP[name]))
    assert grown_mb(f"rtsp://127.0.0.1:{port}/cam") < MOST_MB


@pytest.mark.parametrize("name", RTMP)
def test_rtmp_without_end_is_given_up(
    listening: Callable[..., int], grown_mb: Callable[[str], float], name: str
) -> None:
    port = listening(lambda connection: speak_rtmp(connection, RTMP[name]))
    assert grown_mb(f"rtmp://127.0.0.1:{port}/cam/a") < MOST_MB


@pytest.mark.parametrize("name", UDP)
def test_udp_without_end_is_given_up(grown_mb: Callable[[str], float], name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    done = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for block in UDP[name]():
                if done.is_set():
                    return
                try:
                    sender.sendto(block, address)
                except OSError:  # nobody listens yet
                    continue

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        assert grown_mb(f"udp://127.0.0.1:{address[1]}") < MOST_MB
    finally:
        done.set()
        thread.join(5)
