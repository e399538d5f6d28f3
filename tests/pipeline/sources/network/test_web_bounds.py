"""However much a server sends, a source holds a bounded part of it and says why it gave up."""

from __future__ import annotations

import http.server
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest

MOST_MB = 200
BLOCK = bytes(range(1, 256)) * 4096
READ = """
import json, re, sys
from pipeline.errors import SourceError
from pipeline.sources import open_source

def peak_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

list(open_source(sys.argv[2], source_id="warm", live=True).frames().__next__().image[0, 0])
before = peak_mb()
source = open_source(
    sys.argv[1], source_id="gate", open_timeout_s=20.0, read_timeout_s=20.0, first_connect_s=0.0
)
try:
    count = sum(1 for _ in source.frames())
    said = str(source.outcome.reason)
except SourceError as error:
    said = str(error)
print(json.dumps([said, peak_mb() - before]))
"""


def endless(
    head: bytes,
    body: bytes = BLOCK,
    *,
    kind: str = "application/octet-stream",
    length: int | None = None,
    status: int = 200,
    more: tuple[str, str] = ("X-More", "none"),
) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header(*more)
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        try:
            handler.wfile.write(head)
            for block in repeat(body, 2_000):  # 2 GB
                handler.wfile.write(block)
        except OSError:
            return

    return answer


CAMERA = "multipart/x-mixed-replace; boundary=frame"
PART = b"--frame\r\nContent-Type: image/jpeg\r\n"
TOO_MUCH = "more than 64 MB came without a picture"
CASES = {
    "part-of-2-gb": (
        endless(PART + b"Content-Length: 2000000000\r\n\r\n\xff\xd8\xff", kind=CAMERA),
        TOO_MUCH,
    ),
    "part-without-length": (endless(PART + b"\r\n\xff\xd8\xff", kind=CAMERA), TOO_MUCH),
    "part-headers-without-end": (
        endless(PART, b"X-Pad: " + b"x" * 1000 + b"\r\n", kind=CAMERA),
        "",
    ),
    "playlist-without-end": (
        endless(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n", b"#EXTINF:1,\na\n" * 80_000),
        "its playlist is longer than 4 MB",
    ),
    "playlist-of-2-gb": (
        endless(b"#EXTM3U\n", b"#EXTINF:1,\na\n" * 80_000, length=2_000_000_000),
        "its playlist is longer than 4 MB",
    ),
    "movie-index-of-2-gb": (
        endless(
            struct.pack(">I4s4sII4s4s", 24, b"ftyp", b"isom", 0, 0, b"isom", b"mp41")[:24]
            + struct.pack(">I4s", 2_000_000_000, b"moov")
            + struct.pack(">I4s", 1_999_999_992, b"udta"),
            length=2_000_000_000,
        ),
        "",
    ),
    "redirect-with-a-body": (
        endless(b"", status=302, more=("Location", "/x")),
        "it redirects more than 5 times",
    ),
    "refusal-with-a-body": (
        endless(b"", status=401, more=("WWW-Authenticate", 'Basic realm="x"')),
        "authentication refused (401)",
    ),
    "garbage": (endless(b""), ""),
    "transport-stream-of-one-packet": (
        endless(b"", (b"\x47\x41\x00\x10" + b"\0" * 184) * 5_000, length=2_000_000_000),
        "",
    ),
    "flash-of-one-size": (
        endless(
            b"FLV\x01\x01\0\0\0\x09\0\0\0\0" + b"\x09\xff\xff\xff" + b"\0" * 7 + b"\x17\1\0\0\0"
        ),
        "",
    ),
}


@pytest.fixture
def measured(server: Any, clips: Any) -> Callable[[str], tuple[str, float]]:
    host, answers = server
    content = clips.write("warm.ts").read_bytes()

    def warm(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content)

    answers["/warm"] = warm

    def measure(path: str) -> tuple[str, float]:
        addresses = [f"http://{host}{path}", f"http://{host}/warm"]
        done = subprocess.run(
            [sys.executable, "-c", READ, *addresses],
            check=True,
            capture_output=True,
            text=True,
            timeout=50,
        )
        said, grown_mb = json.loads(done.stdout.splitlines()[-1])
        return said, grown_mb

    return measure


@pytest.mark.parametrize("name", list(CASES))
def test_what_never_gives_a_picture_is_given_up_in_bounded_memory(
    server: Any, measured: Callable[[str], tuple[str, float]], name: str
) -> None:
    _, answers = server
    answers["/x"], reason = CASES[name]
    said, grown_mb = measured("/x")
    assert reason in said
    assert "\n" not in said
    assert grown_mb < MOST_MB
