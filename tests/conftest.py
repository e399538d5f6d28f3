"""Fixtures all tests share: a clean environment, restored randomness, test data, clips."""

import logging
import os
import random
import signal
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from xdist.scheduler import LoadFileScheduling

from pipeline import secrets
from pipeline.sinks.urls import parse_sink

MAY_BE_SKIPPED = (
    "needs a CUDA device",
    "needs root to run containers",
    "needs the right to mount a small file system",
    "this PyAV has ",
    "torch rounds otherwise on a CPU without fused multiply-add",
)
"""What no installation could change on a machine: skipped even where FAIL_ON_SKIP is set."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where FAIL_ON_SKIP is set, a test that is skipped for want of something has failed."""
    report = yield
    if os.environ.get("FAIL_ON_SKIP") and report.skipped and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr  # type: ignore[misc]
        if not reason.removeprefix("Skipped: ").startswith(MAY_BE_SKIPPED):
            report.outcome, report.longrepr = "failed", f"FAIL_ON_SKIP is set; {reason}"
    return report


class OneRayAtATime(LoadFileScheduling):
    """Files go to whichever process of tests is free; those that start Ray go to one of them."""

    def _split_scope(self, nodeid: str) -> str:
        return "Ray" if nodeid.startswith("tests/e2e/") else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneRayAtATime:
    """Asked for by `-n`; what takes longest stands first in the order of the folders."""
    config.option.loadscopereorder = False
    return OneRayAtATime(config, log)


@pytest.fixture(autouse=True, scope="session")
def signals_as_in_a_terminal() -> None:
    """A shell starts background jobs with SIGINT ignored, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's shell reaches a test."""
    for name in list(os.environ):
        if name.startswith("MASKSTREAM_") and name != "MASKSTREAM_TEST_DATA":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def restored_log_records() -> Iterator[None]:
    """A command that ran in a test filters records only as long as that test."""
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)


@pytest.fixture(autouse=True)
def forgotten_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password of one test is an ordinary word in what the next one is told."""
    monkeypatch.setattr(secrets.PROCESS, "_forms", set())
    monkeypatch.setattr(secrets.PROCESS, "_pattern", None)


@pytest.fixture(autouse=True)
def unread_sink_urls() -> None:
    """What a URL of a sink meant in one test, with its schemes and extras, is read anew."""
    parse_sink.cache_clear()


@pytest.fixture(autouse=True)
def restored_randomness() -> Iterator[None]:
    """A test that seeds a generator does not decide what the next one draws."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - saved, not used
    yield
    random.setstate(python)
    np.random.set_state(legacy)  # noqa: NPY002 - restored, not used


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real videos and annotations, read in place; never part of the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MASKSTREAM_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set MASKSTREAM_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def write_clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a clip: two coloured squares cross each other over a drifting texture."""
    folder = tmp_path_factory.mktemp("clips")
    texture = np.random.default_rng(4).integers(20, 110, (8, 12)).repeat(16, 0).repeat(16, 1)

    def write(name: str, count: int, zoom: int = 1) -> Path:
        path = folder / f"{count}x{zoom}" / name
        if path.exists():
            return path
        path.parent.mkdir(exist_ok=True)
        options = {"crf": "12", "bf": "2", "preset": "ultrafast"}
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 128 * zoom, 96 * zoom, "yuv420p"
            stream.time_base = Fraction(1, 25)
            for index in range(count):
                grey = np.roll(texture, -index // 3, axis=1)[:96, :128].astype(np.uint8)
                image = np.repeat(grey[:, :, None], 3, axis=2)
                x = index % 94
                image[20:44, 4 + x : 28 + x] = (0, 0, 255)
                image[30:60, 98 - x : 122 - x] = (0, 255, 0)
                image = image.repeat(zoom, 0).repeat(zoom, 1)
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


@pytest.fixture
def command_lines() -> Callable[[], str]:
    """Asks for the command lines of all processes, as everybody on the machine can read them."""

    def read() -> str:
        lines = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue  # it has ended
        return "\n".join(lines)

    return read
