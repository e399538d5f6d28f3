"""What the demo leaves beside its sinks is written as a sink's file is: over nothing but files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.demo import LEFT_TOO, demo
from pipeline.errors import ConfigError


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", LEFT_TOO)
@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: os.symlink("../mine", path),
        lambda path: os.symlink("nowhere", path),
        lambda path: os.symlink("/dev/zero", path),
    ],
    ids=["pipe", "folder", "link", "dangling", "device"],
)
def test_nothing_runs_for_a_report_that_cannot_be_written(
    tmp_path: Path, name: str, overwrite: bool, make: Callable[[Path], None]
) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").mkdir()
    make(tmp_path / "out" / name)
    with pytest.raises(ConfigError, match=r"exists already|no regular file|symbolic link"):
        demo(tmp_path / "out", local=True, overwrite=overwrite)
    assert os.listdir(tmp_path / "out") == [name]
    assert (tmp_path / "mine").read_text() == "mine"
