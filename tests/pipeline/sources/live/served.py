"""Recordings behind HTTP, and what a server answers, for the tests of them."""

from __future__ import annotations

import http.server
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.sources import open_source
from pipeline.stages import Source

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]
LIMITS = {"open_timeout_s": 2.0, "read_timeout_s": 1.0}


def remote(url: str, **options: Any) -> Source:
    return open_source(url, source_id="gate", **{**LIMITS, **options})


def file(
    content: bytes,
    *,
    ranges: bool = True,
    cut: int | None = None,
    cuts: int = 99,
    kind: str = "application/octet-stream",
) -> Answer:
    """A file server; the first `cuts` connections end behind byte `cut`."""
    left = [cuts]

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
        first = int(asked[1]) if asked and ranges else 0
        last = int(asked[2]) + 1 if asked and asked[2] and ranges else len(content)
        handler.send_response(206 if ranges else 200)
        if ranges:
            handler.send_header("Content-Range", f"bytes {first}-{last - 1}/{len(content)}")
        handler.send_header("Content-Length", str(last - first))
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        ends = last
        if cut is not None and left[0] > 0:
            left[0] -= 1
            ends = min(last, cut)
        handler.wfile.write(content[first:ends])

    return answer


def chunks(*parts: bytes, end: bool = True, kind: str = "video/mp2t") -> Answer:
    """A body in chunks, with or without the chunk that says it was all."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        for part in parts:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        if end:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return answer


def written(clips: Any, name: str, **more: Any) -> bytes:
    path: Path = clips.write(name, frames=20, **more)
    return path.read_bytes()
