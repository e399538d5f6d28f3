"""`maskstream tail`: lines until the stream, the user or the reader of the lines has had enough."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.app import app
from pipeline.formats import jsonl
from pipeline.results import FrameResult
from pipeline.testing import make_end, make_frame, make_instances

COMMAND = (sys.executable, "-m", "maskstream", "tail")


def result(number: int, finds: int) -> FrameResult:
    frame = make_frame(number, source_id="gate")
    found = make_instances(finds, size=frame.size)
    return FrameResult.of(frame, found, run="run", model="m", labels={1: "red"})


@pytest.fixture
def lines() -> list[bytes]:
    end = make_end(source_id="gate", captured=3, published=3)
    values = [result(0, 2), result(1, 0), result(2, 1), end]
    return [jsonl.dumps(value) + b"\n" for value in values]


def test_records_are_shown_in_some_words(
    tmp_path: Path, lines: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    event = {"source": "gate", "frame": 2, "pts_s": 0.2, "event": "new", "label": "red", "track": 7}
    event |= {"schema": "maskstream.event/1", "score": 0.9}
    lines.insert(3, json.dumps(event).encode() + b"\n")
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(lines))
    app(["tail", str(path)], standalone_mode=False)
    assert capsys.readouterr().out.splitlines() == [
        "gate 0 0.000 s  red 0.9, red 0.9",
        "gate 1 0.100 s  -",
        "gate 2 0.200 s  red 0.9",
        "gate 2 0.200 s  new red 7 0.9",
        "gate ended, complete; 3 frames published",
    ]


def test_as_json_they_are_what_was_written(
    tmp_path: Path, lines: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(lines[:2]) + lines[2][:9])
    app(["tail", str(path), "--json", "--no-follow"], standalone_mode=False)
    assert capsys.readouterr().out.encode() == b"".join(lines[:2])


@pytest.mark.parametrize("last", [0, 1, 3, 9])
def test_only_the_last_of_what_is_there_are_shown(
    last: int, tmp_path: Path, lines: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(lines))
    app(["tail", str(path), "--json", "--last", str(last)], standalone_mode=False)
    expected = b"".join(lines[-last:]) if last else b""
    assert capsys.readouterr().out.encode() == expected


def test_it_follows_until_it_is_interrupted(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(lines[2] + lines[0])
    command = (*COMMAND, path, "--last", "1")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"gate 0 0.000 s  red 0.9, red 0.9\n"
    with path.open("ab") as file:
        file.write(lines[1])
    assert process.stdout.readline() == b"gate 1 0.100 s  -\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == (b"", b"", 0)


def test_it_ends_when_nobody_reads_its_lines_any_more(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(lines[0])
    process = subprocess.Popen((*COMMAND, path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.wait(20) == 0  # though nothing comes that could not be written
    assert process.stderr.read() == b""
    process.stderr.close()
