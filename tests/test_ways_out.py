"""Every way to a terminal or a log goes through one filter; the ways out are counted here."""

from __future__ import annotations

import ast
import sys
import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.cli import telling
from pipeline.cli.main import main
from pipeline.plain import plain

ROOT = Path(__file__).parents[1]
HOSTILE = "x\x1b]0;T\x07\u202egpj\u00ad\u2066\ufff9\U000e0041\u3164y"
SEEN = r"x\x1b]0;T\x07\u202egpj\xad\u2066\ufff9\U000e0041\u3164y"

FILTERED = {
    "pipeline/cli/app.py": ["typer.echo"],  # our own version
    "pipeline/cli/progress.py": ["Console"],  # its one line
    "pipeline/cli/top.py": ["Console"],  # its tables
    "pipeline/cli/telling.py": ["typer.echo"] * 3,
    "workers/aside.py": ["os.write"],
    "workers/leftovers.py": ["os.write"],
}
"""Who writes to a standard stream; what goes there is made plain in the same function."""

_WRITES = {"print", "typer.echo", "typer.secho", "Console", "sys.stdout.write", "sys.stderr.write"}
_WRITES |= {"sys.stdout.buffer.write", "sys.stderr.buffer.write", "rich.print"}
_WRITES |= {"traceback.print_exc", "traceback.print_exception", "warnings.warn"}


def ways_out(path: Path) -> Iterator[str]:
    text = path.read_text("utf-8")
    if not any(
        word in text for word in ("print", "echo", "Console", "sys.std", "warn", "os.write")
    ):
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            to = ast.unparse(node.args[0]) if node.args else ""
            if name in _WRITES or (name == "os.write" and to in ("1", "2")):
                yield name


def test_nobody_writes_to_the_terminal_but_these() -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for package in ("pipeline", "workers", "maskstream")
        for path in sorted((ROOT / package).rglob("*.py"))
        if (names := sorted(ways_out(path)))
    }
    assert found == FILTERED


def test_nothing_that_unicode_calls_control_or_format_goes_through() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert plain(character).isascii(), hex(number)
            assert plain(character).isprintable(), hex(number)


def test_text_of_any_script_stays() -> None:
    for text in (
        "zo\u00eb",
        "\u65e5\u672c",
        "\u0639\u0631\u0628",
        "\U0001f697",
        "a\u00a0b",
        "\ue000",
    ):
        assert plain(text) == text


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `maskstream ARGS...` in this process; all it says."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["maskstream", *arguments])
        with pytest.raises(SystemExit):
            main()
        return "".join(capfd.readouterr())

    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ["track", HOSTILE, "--local"],
        ["track", "a.mp4", "--model", HOSTILE],
        ["track", "a.mp4", "--show-config", "--output", HOSTILE],
        ["track", "a.mp4", "--show-config", "--classes", HOSTILE],
        ["run", HOSTILE],
        ["check", HOSTILE],
        ["check", "c.yaml"],
        ["check", "wrong.yaml"],
        ["retrack", HOSTILE, "--format", "jsonl", "--output", "x"],
        ["eval", "run", HOSTILE],
        ["eval", "track", "--gt", HOSTILE, "--results", HOSTILE, "--format", "mots"],
        ["export", "records", HOSTILE, "--to", HOSTILE],
        ["train", "--config", HOSTILE],
        [HOSTILE],
        ["track", f"--{HOSTILE}"],
    ],
    ids=lambda arguments: " ".join(arguments).replace(HOSTILE, "IT"),
)
def test_what_a_command_says_can_be_seen(
    arguments: list[str], said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sinks = [f"jsonl:{HOSTILE}/a.jsonl"]
    settings = {"model": {"name": "blob"}, "sources": [f"{HOSTILE}.mp4"], "sinks": sinks}
    Path("c.yaml").write_text(yaml.safe_dump(settings))
    Path("wrong.yaml").write_text(yaml.safe_dump({HOSTILE: 1, "sources": [{"id": HOSTILE}]}))
    words = said(*arguments)
    assert words
    assert [line for line in words.split("\n") if plain(line) != line] == []


def test_settings_that_are_shown_are_read_back_as_they_are(
    said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "gate\u202e\u00ad\U000e0041.mp4"
    shown = said("track", name, "--show-config")
    assert yaml.safe_load(shown)["sources"][0]["url"] == name


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that a command puts in, behind the standard error of this test."""
    for of, name in ((sys, "excepthook"), (threading, "excepthook"), (warnings, "showwarning")):
        monkeypatch.setattr(of, name, getattr(of, name))
    monkeypatch.setattr(telling, "_is_ours", lambda stream, number: number == 2)
    monkeypatch.setattr(telling, "_text", lambda raw, before: raw.close() or before)
    telling.open_streams()


@pytest.mark.usefixtures("hooks")
def test_a_fault_a_thread_and_a_warning_are_shown_plainly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = RuntimeError(HOSTILE)
    sys.excepthook(RuntimeError, error, None)
    threading.excepthook(threading.ExceptHookArgs((RuntimeError, error, None, None)))
    warnings.showwarning(HOSTILE, UserWarning, "a.py", 3)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"RuntimeError: {SEEN}"] * 2 + [f"UserWarning: {SEEN} (a.py:3)"]
