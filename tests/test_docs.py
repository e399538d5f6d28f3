"""The documentation points at things that exist, and names verbs and options that are there."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pipeline.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (ROOT / "docs", ROOT / "deploy")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
PAGES += [page for folder in FOLDERS for page in sorted(folder.rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [t for t in targets if not (page.parent / t).exists()] == []


def commands(page: Path) -> list[list[str]]:
    """Every `maskstream ...` line of the shell blocks of a page, in words."""
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    found = (re.search(r"(?:^|/|\s)maskstream\s+(.*)", line) for line in lines)
    return [match.group(1).split() for match in found if match]


def unknown_words(words: list[str]) -> list[str]:
    """The verb, or options of it, that the command line does not have."""
    command: Any = typer.main.get_command(app)
    while verbs := getattr(command, "commands", None):
        if not words or words[0] not in verbs:
            return words[:1]
        command, words = verbs[words[0]], words[1:]
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    options = (word.split("=")[0] for word in words if word.startswith("--"))
    return [option for option in options if option not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_shown_exists_with_its_options(page: Path) -> None:
    assert {" ".join(c): unknown_words(c) for c in commands(page) if unknown_words(c)} == {}


def test_the_readme_shows_commands() -> None:
    assert len(commands(ROOT / "README.md")) >= 6


def test_every_place_the_architecture_page_names_is_there() -> None:
    """A name without a folder lies beside the one before it."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    gone: list[str] = []
    for row in re.findall(r"^\|.*\|$", text, re.MULTILINE):
        beside = ROOT / "pipeline"
        for name in re.findall(r"`([\w./]+(?:\.py|\.md|/))`", row):
            places = [ROOT / name, beside / name]
            found = next((place for place in places if place.exists()), None)
            if found is None:
                gone.append(name)
            else:
                beside = found.parent
    assert gone == []
