"""What the command says, whether or not anybody listens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

SCRIPT = Path(sys.executable).with_name("maskstream")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for index in range(5):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((24, 32, 3), 40, np.uint8))
    return folder


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "M": str(SCRIPT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


TRACK = '"$M" track clip --model blob --local --sink jsonl:o.jsonl --metrics-port 0'


def whole(path: Path) -> bool:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return len(lines) == 6 and lines[-1]["outcome"] == "complete"


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param("2> >(exit)", id="nobody reads standard error"),
        pytest.param("> >(exit) 2>&1", id="nobody reads anything"),
        pytest.param("2> /dev/full", id="the disk behind standard error is full"),
        pytest.param("2>&-", id="standard error is closed"),
        pytest.param("<&- >&- 2>&-", id="all three are closed"),
    ],
)
def test_a_run_goes_on_when_nobody_listens(clip: Path, ends: str) -> None:
    done = shell(f"sleep 0.1; {TRACK} {ends}", clip.parent)
    assert done.returncode == 0
    assert whole(clip.parent / "o.jsonl")


@pytest.mark.parametrize("ends", ["2> /dev/full", "2> >(exit)", "<&- >&- 2>&-"])
def test_an_error_nobody_hears_has_its_exit_code_all_the_same(tmp_path: Path, ends: str) -> None:
    assert shell(f'"$M" track none.mp4 --model blob --local {ends}', tmp_path).returncode == 2
    assert shell(f'"$M" track --nope {ends}', tmp_path).returncode == 2


def test_no_file_of_a_run_becomes_a_standard_descriptor(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pipeline.cli.telling import open_streams; open_streams();"
        "print('lost', file=sys.stdout); print('lost', file=sys.stderr);"
        "fd = os.open('o', os.O_CREAT | os.O_RDWR); os.write(fd, str(fd).encode());"
        "[os.write(fd, b' ' + os.readlink(f'/proc/self/fd/{n}').encode()) for n in range(3)]"
    )
    shell(f'"{sys.executable}" -c "{program}" <&- >&- 2>&-', tmp_path)
    assert (tmp_path / "o").read_text() == "4 /dev/null /dev/null /dev/null"


@pytest.mark.parametrize("command", ["--version", "--help", "models"])
def test_results_that_cannot_be_written_are_one_line(tmp_path: Path, command: str) -> None:
    done = shell(f'"$M" {command} > /dev/full', tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "maskstream: standard output cannot be written: No space left on device\n"
    )


def test_a_reader_of_results_that_has_enough_is_told_nothing(tmp_path: Path) -> None:
    done = shell('"$M" models > >(exit)', tmp_path)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_file_name_cannot_forge_a_message(clip: Path) -> None:
    name = "x\nERROR forged\x1b]0;T\x07\u202e"
    (clip.parent / f"{name}.mp4").write_text("no video")
    done = subprocess.run(
        [str(SCRIPT), "track", f"{name}.mp4", "--model", "blob", "--local"],
        cwd=clip.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "ERROR forged" in done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith("ERROR forged")]
    assert not set("\x1b\x07\u202e") & set(done.stderr + done.stdout)


def test_an_option_cannot_forge_a_message(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(SCRIPT), "track", "--x\nERROR forged\x1b[2J"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_configuration_cannot_forge_what_check_says(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        'model: {name: blob}\nsources: [{id: a, url: "x\\nsource   b: y\\e[2J.mp4"}]\n'
        "sinks: ['jsonl:o/{source}.jsonl']\n"
    )
    done = shell('"$M" check c.yaml', tmp_path)
    assert "\x1b" not in done.stdout + done.stderr
    assert "\nsource   b" not in done.stdout
