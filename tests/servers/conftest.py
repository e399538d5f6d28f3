"""Real servers on loopback, each a child process that is ended by its own handle.

Everything here is optional: without the packages of `install.sh` the tests skip and say so, and
fail where `FAIL_ON_SKIP` is set, as `make test-servers` does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from brokers.table import BROKERS

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"  # the bindings of GStreamer serve no other
FPS = 25
BITS = 12


def numbered(number: int, size: tuple[int, int] = (240, 320)) -> NDArray[np.uint8]:
    """A picture with its number in a row of black and white blocks, and something that moves."""
    image = np.full((*size, 3), 90, np.uint8)
    x = number * 3 % (size[1] - 40)
    image[100:140, x : x + 40] = (0, 0, 255)
    for bit in range(BITS):
        image[:24, 24 * bit : 24 * bit + 24] = 255 if number >> bit & 1 else 0
    return image


def number_in(image: NDArray[np.uint8]) -> int:
    """The number `numbered` drew."""
    return sum(int(image[12, 24 * bit + 12].mean() > 128) << bit for bit in range(BITS))


class Child:
    """A server in a process of its own; `ports` are what it prints once it is ready."""

    def __init__(self, *command: str) -> None:
        self.command = command
        self.process: subprocess.Popen[str]
        self.ports: list[int] = []
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().split()
        if line[:1] != ["ready"]:
            self.kill()
            raise RuntimeError(f"{self.command} did not start: {line}")
        self.ports = [int(port) for port in line[1:]]

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Camera(Child):
    """The RTSP server; `restart` comes back on the same ports."""

    def __init__(self, clip: Path, password: str) -> None:
        self.password = password
        script = str(HERE / "rtsp_server.py")
        super().__init__(SYSTEM_PYTHON, script, "--file", str(clip), "--password", password)

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.ports[0]}/cam"

    @property
    def closed_port(self) -> int:
        return self.ports[1]

    def restart(self) -> None:
        base = self.command[:6]
        ports = ("--port", str(self.ports[0]), "--closed-port", str(self.ports[1]))
        self.command = (*base, *ports)
        self.start()


def _missing(reason: str) -> None:
    pytest.skip(f"{reason}; install it with tests/servers/install.sh")


@pytest.fixture(scope="session")
def gstreamer() -> None:
    """GStreamer's RTSP server for the system's Python."""
    code = "import gi; gi.require_version('GstRtspServer', '1.0')"
    try:
        subprocess.run([SYSTEM_PYTHON, "-c", code], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        _missing("GStreamer's RTSP server is not installed")


@pytest.fixture(scope="session")
def ffmpeg_program() -> str:
    """The `ffmpeg` command."""
    program = shutil.which("ffmpeg")
    if program is None:
        _missing("no ffmpeg command")
    assert program is not None
    return program


@pytest.fixture(scope="session")
def numbered_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of numbered pictures, raw H.264 with access unit delimiters, encoded once."""
    path = tmp_path_factory.mktemp("clip") / "numbered.h264"
    return _encode(path, (numbered(i) for i in range(10 * FPS)))


@pytest.fixture(scope="session")
def heavy_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with noise in it, some 300 kB a second: enough to feel a slow network."""
    rng = np.random.default_rng(1)

    def noisy(number: int) -> NDArray[np.uint8]:
        image = numbered(number)
        image[150:] = rng.integers(0, 120, image[150:].shape, np.uint8)
        return image

    path = tmp_path_factory.mktemp("clip") / "heavy.h264"
    return _encode(path, (noisy(i) for i in range(10 * FPS)))


def _encode(path: Path, pictures: Iterator[NDArray[np.uint8]]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 240, 320, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "g": str(FPS),
            "x264-params": "aud=1:repeat-headers=1:scenecut=0",
        }
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `localhost` signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        _missing("no openssl command to make a certificate with")
    assert openssl is not None
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    key = path.with_suffix(".key")
    more = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key)]
    subprocess.run([*command, *more, "-out", str(path)], check=True, capture_output=True)
    path.write_text(key.read_text() + path.read_text())
    return path


@pytest.fixture(scope="session")
def make_camera() -> Callable[[Path], Camera]:
    """Starts a camera; whoever asks for it ends it."""
    return lambda clip: Camera(clip, "S3cret-w0rd")


@pytest.fixture
def camera(gstreamer: None, numbered_clip: Path) -> Iterator[Camera]:
    """A camera of 25 frames a second."""
    child = Camera(numbered_clip, "S3cret-w0rd")
    yield child
    child.thaw()
    child.kill()


@pytest.fixture
def heavy_camera(gstreamer: None, heavy_clip: Path) -> Iterator[Camera]:
    """A camera that sends some 300 kB a second."""
    child = Camera(heavy_clip, "S3cret-w0rd")
    yield child
    child.thaw()
    child.kill()


@pytest.fixture
def proxy() -> Iterator[Callable[..., Child]]:
    """Makes fault proxies before a port; options as in `fault_proxy.py`."""
    children: list[Child] = []

    def before(port: int, *options: str) -> Child:
        script = str(HERE / "fault_proxy.py")
        children.append(Child(sys.executable, script, "--to", str(port), *options))
        return children[-1]

    yield before
    for child in children:
        child.kill()


@pytest.fixture(params=sorted(BROKERS))
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificate: Path
) -> Iterator[Any]:
    """Every service there is, or those a test is for."""
    kind = BROKERS[request.param]
    if reason := kind.missing():
        pytest.skip(f"{reason}; install it with tests/servers/install.sh")
    started = kind.for_test(tmp_path_factory.mktemp(request.param), certificate)
    yield started
    started.end()


@pytest.fixture
def number_of() -> Callable[[NDArray[np.uint8]], int]:
    """Reads the number in a picture of `numbered_clip`."""
    return number_in


@pytest.fixture
def writer_of() -> Callable[[Path], int | None]:
    """Finds the process that holds a file open; None when there is none."""
    return _writer_of


def _writer_of(path: Path) -> int | None:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(file) == str(path) for file in (entry / "fd").iterdir()):
                return int(entry.name)
        except OSError:
            continue
    return None


_FIGURES: list[tuple[str, ...]] = []


@pytest.fixture
def figures() -> Callable[..., None]:
    """Notes a row of figures; all rows are printed at the end."""
    return lambda *row: _FIGURES.append(row)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, as a table that fits into docs/reliability.md."""
    if _FIGURES:
        terminalreporter.section("figures")
        for row in _FIGURES:
            terminalreporter.write_line(f"| {' | '.join(row)} |")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, headless."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium command; install it with tests/servers/install.sh")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()
