"""Pipes, sockets, devices, folders and links in place of every file a command is given."""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.main import main


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))  # the whole path is too long for a socket


KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "device": lambda path: os.symlink("/dev/zero", path),
    "full device": lambda path: os.symlink("/dev/full", path),
    "folder": os.mkdir,
    "loop": lambda path: os.symlink(path.name, path),
    "dangling": lambda path: os.symlink("nowhere/at/all", path),
}
"""Each makes one at a path."""

RECORD = {
    **{"schema": "maskstream.frame/1", "run": "r", "source": "a", "epoch": 0, "frame": 0},
    **{"pts_s": 0.0, "captured_at": None, "width": 2, "height": 2, "model": "m", "instances": []},
}
MANIFEST = {
    "schema": "maskstream.run/1",
    "sources": [{"id": "a", "run": "r", "url": "a.mp4", "tracker": "none"}],
    "sinks": ["jsonl:out/{source}.jsonl"],
}
TRUTH = {"images": [{"id": 0}], "categories": [], "annotations": []}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one of everything."""
    monkeypatch.chdir(tmp_path)
    for folder in ("out", "gt", "results"):
        (tmp_path / folder).mkdir()
    (tmp_path / "out/a.jsonl").write_text(json.dumps(RECORD) + "\n")
    (tmp_path / "out/run-0.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    (tmp_path / "a.mots.txt").write_text("0 4 3 2 2 01100\n")
    (tmp_path / "a.mot.txt").write_text("1,1,0,0,1,1,1,1,1\n")
    (tmp_path / "tracker.yaml").write_text("max_lost_s: 2\n")
    for folder in ("gt", "results"):
        (tmp_path / folder / "a.txt").write_text("0 4 1 2 2 01100\n")
        (tmp_path / folder / "a.jsonl").write_text(json.dumps(RECORD) + "\n")
    return tmp_path


TRACK = ["track", "synthetic://street?frames=1&size=96x96", "--model", "blob", "--local", "--quiet"]
MOTS = ["retrack", "a.mots.txt", "--format", "mots", "--fps", "9"]
EVAL = ["eval", "track", "--gt", "gt", "--results", "results", "--format", "kitti-mots"]
RUN = ["eval", "run", "out", "--gt", "truth.json"]
EXPORT = ["export", "records"]

READ = [
    ["retrack", "IT", "--format", "jsonl", "--output", "new.jsonl"],
    ["retrack", "IT", "--format", "mots", "--fps", "9", "--output", "new.txt"],
    ["retrack", "IT", "--format", "mot", "--fps", "9", "--output", "new.txt"],
    [*MOTS, "--affines", "IT", "--output", "new.txt"],
    [*MOTS, "--config", "IT", "--output", "new.txt"],
    ["eval", "run", "out", "--gt", "IT"],
    ["eval", "track", "--gt", "IT", "--results", "results", "--format", "jsonl"],
    [*EVAL, "--seqmap", "IT"],
    *([*EXPORT, "IT", "--to", form] for form in ("coco", "yolo", "parquet")),
    *(
        [*EXPORT, "IT", "--to", "jsonl", "--from", form]
        for form in ("coco", "mots", "ytvis", "labelstudio", "cvat", "parquet")
    ),
    *(["tail", f"{scheme}:IT", "--no-follow"] for scheme in ("jsonl", "events", "mots")),
    ["run", "IT"],
    ["check", "IT"],
    [*TRACK[:2], "--weights", "IT", "--local"],
    [*TRACK, "--sink", "coco:out/{source}.json?images=IT"],
    ["track", "IT", "--model", "blob", "--local", "--quiet"],
]
"""Commands that read IT."""

WRITTEN = [
    [*MOTS, "--overwrite", "--output", "IT"],
    ["retrack", "out/a.jsonl", "--format", "jsonl", "--overwrite", "--output", "IT"],
    [*EVAL, "--json", "IT"],
    [*RUN, "--json", "IT"],
    *(
        [*EXPORT, "out/a.jsonl", "--overwrite", "--to", form, "--output", "IT"]
        for form in ("coco", "mots", "csv", "parquet")
    ),
    [*EXPORT, "a.mots.txt", "--overwrite", "--to", "jsonl", "--output", "IT"],
    *([*TRACK, "--overwrite", "--sink", f"{kind}:IT"] for kind in ("jsonl", "mots")),
]


def said(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["maskstream", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capfd.readouterr().err


def name_of(command: list[str]) -> str:
    return " ".join(command).replace("synthetic://street?frames=1&size=96x96", "S")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("command", READ, ids=name_of)
def test_what_is_read_is_a_file_or_a_line(
    command: list[str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for kind, make in KINDS.items():
        if kind == "folder" and ("--gt" in command or command[1] == "IT"):
            continue  # what these commands also take
        make(here / kind)
        arguments = [word.replace("IT", kind) for word in command]
        code, words = said(arguments, monkeypatch, capfd)
        assert (code, words.count("\n")) == (2, 1), (kind, words)
        assert kind in words


@pytest.mark.timeout(20)
@pytest.mark.parametrize("command", WRITTEN, ids=name_of)
def test_what_is_written_is_a_file_or_a_line(
    command: list[str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (here / "mine").write_text("mine")
    kinds = {**KINDS, "link": lambda path: os.symlink("mine", path)}
    for kind, make in kinds.items():
        make(here / kind)
        before = os.lstat(here / kind)
        code, words = said([word.replace("IT", kind) for word in command], monkeypatch, capfd)
        assert (code, words.count("\n")) == (2, 1), (kind, words)
        assert f"{kind}: is " in words
        after = os.lstat(here / kind)
        assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    assert (here / "mine").read_text() == "mine"
    assert not [path for path in here.rglob(".*")]


LONG = "x" * 300


@pytest.mark.parametrize(
    "command",
    [
        *([*command[:-1], "IT"] for command in WRITTEN if command[-1] == "IT"),
        ["track", "IT", "--model", "blob", "--local", "--quiet"],
        *([*TRACK, "--sink", f"{kind}:IT"] for kind in ("jsonl", "frames", "parquet")),
        [*TRACK, "--sink", f"jsonl:{'d/' * 2100}IT"],
        [*TRACK, "--state-dir", "IT"],
        [*TRACK[:2], "--weights", "IT", "--local"],
        ["run", "IT"],
        ["eval", "run", "IT"],
        ["eval", "track", "--gt", "IT", "--results", "IT", "--format", "mots"],
        ["export", "records", "IT", "--to", "coco"],
        ["demo", "--output", "IT", "--local"],
    ],
    ids=name_of,
)
def test_a_name_that_is_too_long_is_a_line(
    command: list[str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    code, words = said([word.replace("IT", LONG) for word in command], monkeypatch, capfd)
    assert (code, words.count("\n")) == (2, 1), words
    assert "too long" in words
