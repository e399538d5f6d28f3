"""The command line: what a user reads and which code the shell gets when something is wrong."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from pipeline.cli import app as app_module
from pipeline.cli import command
from pipeline.cli.main import main
from pipeline.config import load


class Answer(NamedTuple):
    """What the shell sees."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture
def maskstream(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run `maskstream ARGS...` in this process."""

    def run(*args: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["maskstream", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Answer(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames of a red square on grey, as pictures."""
    import cv2

    folder = tmp_path / "clip"
    folder.mkdir()
    for i in range(10):
        image = np.full((64, 96, 3), 120, np.uint8)
        image[20:40, 10 + i : 40 + i] = (0, 0, 255)
        cv2.imwrite(str(folder / f"{i:03d}.png"), image)
    return folder


def track(clip: Path, output: Path, *more: object) -> list[object]:
    return ["track", clip, "--model", "blob", "--local", "--output", output, *more]


def test_tracking_a_folder_writes_one_record_a_picture_and_the_end(
    maskstream: Command, clip: Path, tmp_path: Path
) -> None:
    answer = maskstream(*track(clip, tmp_path / "out"))
    assert (answer.code, "clip: complete, 10 of 10 frames" in answer.err) == (0, True)
    lines = [json.loads(x) for x in (tmp_path / "out" / "clip.jsonl").read_text().splitlines()]
    assert [r["schema"] for r in lines] == ["maskstream.frame/1"] * 10 + ["maskstream.end/1"]
    assert [r["frame"] for r in lines[:-1]] == list(range(10))
    assert [[i["track"] for i in r["instances"]] for r in lines[:-1]] == [[1]] * 10
    assert lines[0]["instances"][0]["area"] == 20 * 30
    assert (tmp_path / "out" / "clip.mp4").stat().st_size > 0


def test_existing_output_is_refused_and_then_replaced_with_overwrite(
    maskstream: Command, clip: Path, tmp_path: Path
) -> None:
    assert maskstream(*track(clip, tmp_path / "out", "--quiet")).code == 0
    before = (tmp_path / "out" / "clip.jsonl").read_bytes()
    refused = maskstream(*track(clip, tmp_path / "out", "--quiet"))
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "clip.jsonl" in refused.err
    assert "--overwrite" in refused.err
    assert maskstream(*track(clip, tmp_path / "out", "--quiet", "--overwrite")).code == 0
    assert (tmp_path / "out" / "clip.jsonl").read_bytes() == before


def test_show_config_prints_what_run_would_take(
    maskstream: Command, clip: Path, tmp_path: Path
) -> None:
    shown = maskstream(*track(clip, tmp_path / "out", "--classes", "red", "--show-config"))
    assert shown.code == 0
    path = tmp_path / "shown.yaml"
    path.write_text(shown.out)
    assert maskstream("check", path).code == 0
    assert maskstream("run", path, "--quiet").code == 0
    assert (tmp_path / "out" / "clip.jsonl").exists()


def test_show_config_keeps_secrets_out_and_says_which(maskstream: Command, tmp_path: Path) -> None:
    shown = maskstream(
        *("track", "rtsp://me:p%40ss@cam/1", "http://me:hunter22@h:81/2?token=T0k3n&x=1"),
        *("rtsp://only@h/3", "--model", "blob", "--show-config"),
    )
    assert shown.code == 0
    assert not [word for word in ("p%40ss", "p@ss", "hunter22", "T0k3n") if word in shown.out]
    assert shown.out.splitlines()[:3] == [
        "# put the password of cam-1 into the environment: PASSWORD_1=",
        "# put the password of h-2 into the environment: PASSWORD_2=",
        "# in the url of h-2 *** stands for a secret that was left out",
    ]
    path = tmp_path / "shown.yaml"
    path.write_text(shown.out)
    found = [(s.url, s.username, s.password_env) for s in load(path).sources]
    assert found == [
        ("rtsp://cam/1", "me", "PASSWORD_1"),
        ("http://h:81/2?token=***&x=1", "me", "PASSWORD_2"),
        ("rtsp://h/3", "only", None),
    ]
    assert maskstream("check", path).code == 0


def test_a_stride_is_told_with_what_it_left_out(
    maskstream: Command, clip: Path, tmp_path: Path
) -> None:
    told = maskstream(*track(clip, tmp_path / "out", "--stride", "4"))
    assert told.code == 0
    assert "clip: complete, 3 of 10 frames (stride 7)" in told.err
    refused = maskstream(*track(clip, tmp_path / "no", "--stride", "0"))
    assert refused.code == 2
    assert refused.err == (
        "maskstream: command line: sources[0].stride: must be greater than or equal to 1, got 0\n"
    )


def test_one_unreadable_source_costs_exit_code_2_and_the_others_finish(
    maskstream: Command, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    answer = maskstream(
        "track", tmp_path / "empty.mp4", clip, "--model", "blob", "--local",
        "--sink", f"jsonl:{tmp_path}/{{source}}.jsonl",
    )  # fmt: skip
    assert answer.code == 2
    assert "Traceback" not in answer.err
    assert "clip: complete, 10 of 10 frames" in answer.err
    assert "empty: failed" in answer.err


BAD = {
    "missing-file": ("track {tmp}/nowhere.mp4 --model blob", "nowhere.mp4"),
    "text-as-video": ("track {tmp}/text.mp4 --model blob", "text.mp4"),
    "empty-glob": ("track {tmp}/*.avi --model blob", "*.avi"),
    "empty-folder": ("track {tmp}/nothing --model blob", "nothing"),
    "unknown-scheme": ("track gopher://x --model blob", "gopher"),
    "unknown-model": ("track {clip} --model maskrcnn_resnet5_fpn", "maskrcnn_resnet50_fpn"),
    "unknown-class": ("track {clip} --model blob --classes rad", "red"),
    "unknown-tracker": ("track {clip} --model blob --tracker crwod", "crowd"),
    "unknown-sink": ("track {clip} --model blob --sink jsnl:x", "jsonl"),
    "sink-option": ("track {clip} --model blob --sink video:{tmp}/a.mp4?codc=x", "codec"),
    "unwritable": ("track {clip} --model blob --sink jsonl:/proc/x/{source}.jsonl", "/proc/x"),
    "one-file-for-two": (
        "track {clip} {clip} --model blob --sink jsonl:{tmp}/one.jsonl",
        "one.jsonl",
    ),
    "missing-weights": (
        "track {clip} --model maskrcnn_resnet50_fpn --weights {tmp}/no.pth",
        "no.pth",
    ),
    "text-as-weights": (
        "track {clip} --model maskrcnn_resnet50_fpn --weights {tmp}/text.pth",
        "text.pth",
    ),
    "text-as-safetensors": (
        "track {clip} --model maskrcnn_resnet50_fpn --weights {tmp}/text.safetensors",
        "text.safetensors",
    ),
    "no-such-device": ("track {clip} --weights demo --device tpu", "tpu"),
    "precision": ("track {clip} --model blob --precision fp8", "fp8"),
    "min-score": ("track {clip} --model blob --min-score 7", "min_score"),
    "config-missing": ("run {tmp}/none.yaml", "none.yaml"),
    "config-unknown-key": ("check {tmp}/key.yaml", "sources"),
    "config-unknown-class": ("check {tmp}/class.yaml", "green"),
    "config-duplicate-id": ("check {tmp}/twice.yaml", "used twice"),
    "config-id-leaves-folder": ("check {tmp}/leaves.yaml", "../a"),
    "config-text": ("check {tmp}/text.mp4", "text.mp4"),
    "eval-nothing": ("eval run {tmp}/nothing", "nothing"),
    "retrack-missing": (
        "retrack {tmp}/none.txt --format mots --output {tmp}/o --fps 10",
        "none.txt",
    ),
    "no-such-verb": ("trak", "trak"),
}
"""Name: the command, and what its one line of answer has to contain."""


@pytest.fixture
def rubbish(tmp_path: Path) -> Path:
    """A folder full of things that are not what their names say."""
    for name in ("text.mp4", "text.pth", "text.safetensors"):
        (tmp_path / name).write_text("this is not what you think it is\n" * 40)
    (tmp_path / "nothing").mkdir()
    one = "sources: [{id: a, url: a.mp4}]\nmodel: {name: blob}\n"
    (tmp_path / "key.yaml").write_text(one.replace("sources", "sorces"))
    (tmp_path / "class.yaml").write_text(one + "defaults: {classes: [grene]}\n")
    (tmp_path / "twice.yaml").write_text("sources: [{id: a, url: a.mp4}, {id: a, url: b.mp4}]\n")
    (tmp_path / "leaves.yaml").write_text("sources: [{id: ../a, url: a.mp4}]\n")
    return tmp_path


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered_with_one_line_and_code_2(
    maskstream: Command, rubbish: Path, clip: Path, name: str
) -> None:
    command, names = BAD[name]
    args = command.replace("{tmp}", str(rubbish)).replace("{clip}", str(clip)).split()
    if args[0] in ("track", "run"):
        args += ["--quiet", "--local"]
    if args[0] == "track" and "--sink" not in args:
        args += ["--output", str(rubbish / "out")]
    answer = maskstream(*args)
    assert answer.code == 2, answer.err
    assert names in answer.err
    assert "Traceback" not in answer.err
    if name != "no-such-verb":  # typer frames its usage errors
        assert len(answer.err.strip().splitlines()) == 1, answer.err


def test_a_password_in_a_wrong_address_is_not_repeated(maskstream: Command, tmp_path: Path) -> None:
    answer = maskstream(
        "track", "gopher://viewer:S3cret-word@camera/1", "--model", "blob", "--output", tmp_path
    )
    assert answer.code == 2
    assert "S3cret-word" not in answer.err + answer.out


def test_ctrl_c_while_modules_are_loaded_ends_the_command_like_any_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[Any] = []

    def loaded() -> Callable[[], int]:
        heard.append(signal.getsignal(signal.SIGINT))
        return lambda: 7

    monkeypatch.setattr(command, "command", loaded)
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, heard) == (7, [signal.SIG_DFL])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_later_is_the_exit_code_of_shells_without_a_word(
    maskstream: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app_module, "app", interrupted)
    assert maskstream("models") == Answer(130, "", "")


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    code = (
        "import os; os.chdir('gone'); os.rmdir('../gone')\n"
        "import sys; sys.argv = ['maskstream', 'track', 'a.mp4', '--local', '--model', 'blob']\n"
        "from pipeline.cli.main import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "maskstream: the folder it was started in is gone; change to another\n"
    assert done.returncode == 2
