"""Clips written by PyAV into the test's folder: every picture shows which one it is."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import secrets

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Handler(http.server.BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, Answer]] = {}

    def do_GET(self) -> None:
        self.answers.get(self.path.partition("?")[0], lambda h: h.send_error(404))(self)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, Answer]]]:
    answers: dict[str, Answer] = {}
    handler = type("Here", (Handler,), {"answers": answers})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        httpd.daemon_threads = True
        httpd.block_on_close = False
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{httpd.server_port}", answers
        httpd.shutdown()


class Pipe:
    """Takes what a muxer writes, and lets it seek nowhere."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.write_bytes(b"")

    def write(self, data: bytes) -> int:
        with self.path.open("ab") as file:
            return file.write(data)


class Clips:
    """Writes clips below one folder and reads the number in a picture."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def picture(number: int, size: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
        """A picture whose brightness is its number, 0 to 24."""
        return np.full((*size, 3), 20 + 9 * number, np.uint8)

    @staticmethod
    def number(image: NDArray[np.uint8]) -> int:
        """The number `picture` drew, whatever the coding lost."""
        return round((float(image.mean()) - 20) / 9)

    def write(
        self,
        name: str,
        *,
        images: Sequence[NDArray[Any]] | None = None,
        frames: int = 10,
        size: tuple[int, int] = (48, 64),
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        source_format: str = "bgr24",
        rate: int = 10,
        pts: Sequence[int] | None = None,
        time_base: Fraction | None = None,
        options: dict[str, str] | None = None,
        mux: dict[str, str] | None = None,
        rotation: tuple[int, bool, bool] | None = None,
        colour: dict[str, int] | None = None,
        pipe: str | None = None,
    ) -> Path:
        """Encode `images` (by default numbered ones); `pts` count in `time_base`.

        With `pipe`, the name of a format, the muxer cannot go back in what it has written.
        """
        images = images or [self.picture(i, size) for i in range(frames)]
        path = self.folder / name
        base = time_base or Fraction(1, rate)
        where: Any = Pipe(path) if pipe else str(path)
        with av.open(where, "w", format=pipe, options=mux or {}) as container:
            stream = container.add_stream(codec, rate=rate, options=options or {})
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt = pix_fmt
            stream.codec_context.thread_count = 1
            stream.time_base = stream.codec_context.time_base = base
            for key, value in (colour or {}).items():
                setattr(stream.codec_context, key, value)
            if rotation is not None:
                stream.set_display_rotation(rotation[0], hflip=rotation[1], vflip=rotation[2])
            for i, image in enumerate(images):
                array = np.ascontiguousarray(image)
                planar = {"channel_last": True} if source_format == "yuv444p" else {}
                frame = av.VideoFrame.from_ndarray(array, source_format, **planar)
                frame.pts = pts[i] if pts is not None else i
                frame.time_base = base
                for key, value in (colour or {}).items():
                    setattr(frame, key, value)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    def join(self, name: str, *parts: Path) -> Path:
        """Transport streams one after another, as a recorder that was restarted leaves them."""
        path = self.folder / name
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        return path

    def cut(self, path: Path, share: float) -> Path:
        """The first part of a file."""
        data = path.read_bytes()
        shorter = path.with_name(f"cut-{path.name}")
        shorter.write_bytes(data[: int(len(data) * share)])
        return shorter


@pytest.fixture(autouse=True)
def forgotten_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password of one test is not taken out of the texts of another."""
    monkeypatch.setattr(secrets.PROCESS, "_forms", set())
    monkeypatch.setattr(secrets.PROCESS, "_pattern", None)


@pytest.fixture(scope="session")
def clips_class() -> type[Clips]:
    """For fixtures that keep what they write for several tests."""
    return Clips


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    """A writer of clips into the test's own folder."""
    return Clips(tmp_path)


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Runs the `ffmpeg` command, the judge of counts and colours; skips where there is none."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("no ffmpeg command to compare with; apt-get install ffmpeg")

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [program, "-v", "error", "-threads", "1", *arguments], capture_output=True, check=False
        )

    return run
