"""What workers may import: what is installed, nothing that lies about."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest

import pipeline
from workers.import_path import handed_on

OURS = str(Path(pipeline.__file__).parents[1])


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the driver has on its path before the standard library."""
    library = sysconfig.get_path("stdlib")
    entries = sys.path[sys.path.index(library) :]
    monkeypatch.setattr(sys, "path", entries)
    return entries


def put(path: list[str], *entries: str) -> None:
    path[:0] = entries


def installed(folder: Path) -> str:
    (folder / "thing-1.0.dist-info").mkdir(parents=True)
    return str(folder)


def test_the_folder_of_a_script_and_the_working_folder_are_not_handed_on(
    ahead: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("")
    (tmp_path / "pipeline").mkdir()
    monkeypatch.chdir(tmp_path)
    put(ahead, "", ".", str(tmp_path))
    assert handed_on() == []


def test_a_folder_packages_are_installed_in_is(ahead: list[str], tmp_path: Path) -> None:
    modules, loose = installed(tmp_path / "modules"), tmp_path / "loose"
    loose.mkdir()
    put(ahead, str(loose), modules, str(tmp_path / "missing"))
    assert handed_on() == [modules]


def test_so_is_the_folder_we_are_from(ahead: list[str]) -> None:
    put(ahead, OURS)
    assert handed_on() == [OURS]


def test_relative_entries_are_handed_on_as_absolute_ones(
    ahead: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path / "libs")
    monkeypatch.chdir(tmp_path)
    put(ahead, "libs", f".{os.sep}libs")
    assert handed_on() == [str(tmp_path / "libs")]


def test_the_standard_library_and_what_is_behind_it_is_found_by_every_python(
    ahead: list[str], tmp_path: Path
) -> None:
    ahead.append(installed(tmp_path / "site-packages"))
    assert handed_on() == []
