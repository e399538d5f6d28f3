"""What a file is called does not matter: names are bytes, not text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from pipeline.sources import open_source, probe

NAMES = {
    "not UTF-8": b"gate \xff\xfe",
    "torn UTF-8": b"gate \xc3(",
    "Latin-1": "Straße".encode("latin-1"),
    "UTF-8": "門 😀".encode(),
    "signs": b"100% a#b?c:d|e",
    "a line break": b"a\nb",
}


@pytest.fixture(params=NAMES.values(), ids=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return os.fsdecode(request.param)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".mjpeg"])
def test_a_video_may_be_called_anything(clips: Any, name: str, suffix: str) -> None:
    codec, pix_fmt = ("mjpeg", "yuvj420p") if suffix == ".mjpeg" else ("libx264", "yuv420p")
    written = clips.write(f"a{suffix}", codec=codec, pix_fmt=pix_fmt)
    path = written.rename(written.with_name(name + suffix))
    for url in (str(path), f"file://{quote(os.fsencode(path))}"):
        reading = open_source(url, source_id="clip")
        assert [clips.number(frame.image) for frame in reading.frames()] == list(range(10))
        assert probe(url).size == (48, 64)


def test_a_folder_may_be_called_anything(clips: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    path = clips.write("a.mp4").rename(tmp_path / name / "a.mp4")
    assert sum(1 for _ in open_source(str(path), source_id="clip").frames()) == 10


def test_a_picture_may_be_called_anything(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    content = cv2.imencode(".png", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    (folder / f"{name}.png").write_bytes(content)
    for url in (str(folder), str(folder / f"{name}.png")):
        reading = open_source(url, source_id="clip")
        assert [frame.size for frame in reading.frames()] == [(20, 30)]


READ = """
import os, sys
from pipeline.errors import SourceOpenError
from pipeline.sources import open_source

print(sys.getfilesystemencoding())
for url in (os.fsdecode(os.listdir(b".")[0]), "\\xfc.mp4"):
    try:
        print(sum(1 for _ in open_source(url, source_id="clip").frames()))
    except SourceOpenError as error:
        print(ascii(str(error)))
"""


def test_where_names_are_ascii_files_of_other_names_are_read(clips: Any, tmp_path: Path) -> None:
    clips.write("a.mp4").rename(tmp_path / "ü.mp4")
    settings = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", READ],
        cwd=tmp_path,
        env={**os.environ, **settings, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "ascii",
        "10",
        r"'clip: cannot open \xfc.mp4: file names are ascii here; set PYTHONUTF8=1'",
    ]
