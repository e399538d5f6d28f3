"""The disks of this machine, as state is kept on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.state.disk import LOCAL


def test_a_file_is_made_once_replaced_whole_and_written_over_in_place(tmp_path: Path) -> None:
    path = f"{tmp_path}/deep/down/file"
    assert LOCAL.make(path, b"first") is True
    assert LOCAL.make(path, b"other") is False
    assert LOCAL.read(path) == b"first"
    before = os.stat(path).st_ino
    LOCAL.write_over(path, b"FIRST")
    assert (LOCAL.read(path), os.stat(path).st_ino) == (b"FIRST", before)
    LOCAL.replace(path, b"longer than before")
    assert LOCAL.read(path) == b"longer than before"
    assert os.listdir(os.path.dirname(path)) == ["file"]
    LOCAL.remove(path)
    LOCAL.remove(path)
    with pytest.raises(FileNotFoundError):
        LOCAL.read(path)
    with pytest.raises(FileNotFoundError):
        LOCAL.write_over(path, b"what was removed does not come back")


def test_names_are_in_order_and_begin_behind_one(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name).touch()
    assert LOCAL.names(str(tmp_path)) == ["a", "b", "c"]
    assert LOCAL.names(str(tmp_path), behind="a") == ["b", "c"]
    assert LOCAL.names(f"{tmp_path}/nowhere") == []


def test_what_is_held_is_seen_so_until_it_is_released(tmp_path: Path) -> None:
    path = f"{tmp_path}/file"
    assert LOCAL.is_held(path) is False
    release = LOCAL.hold(path, b"")
    assert release is not None
    assert LOCAL.hold(path, b"") is None
    assert LOCAL.is_held(path) is True
    release()
    assert LOCAL.is_held(path) is False


def test_a_file_that_cannot_replace_another_leaves_it_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        LOCAL.replace(str(path), b"data")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
