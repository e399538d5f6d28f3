"""What a training refuses, and that it does so before it renders or writes anything."""

import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import ConfigError, MaskstreamError
from pipeline.training import train
from pipeline.training.settings import TrainSettings


def settings(folder: Path, **more: Any) -> TrainSettings:
    data = {"seeds": 1, "frames_per_seed": 1, "cache": str(folder / "cache")}
    optimiser = {"steps": 1, "batch": 1}
    return TrainSettings.model_validate(
        {"data": data, "optimiser": optimiser, "output": str(folder / "run"), **more}
    )


def saved(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def refused(folder: Path, message: str, **more: Any) -> None:
    """One line, and everything is as it was."""
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(MaskstreamError, match=message) as caught:
        train(settings(folder, **more))
    assert "\n" not in str(caught.value)
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"device": "cuda:7"}, "device cuda:7: this machine has"),
        ({"model": {"name": "resnet"}}, "model 'resnet' has no network; known networks are"),
        ({"output": "/dev/null/run"}, "cannot write there: /dev/null is no folder"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is_rendered(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    refused(tmp_path, message, **more)


STATE = {
    **{"step": 1, "seconds": 1.0, "network": {}, "average": {}, "torch_rng": torch.zeros(1)},
    "optimiser": {"state": {}, "param_groups": []},
}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"mine", id="text"),
        pytest.param(saved({"model": {}}), id="weights"),
        pytest.param(saved(torch.nn.Linear(2, 2)), id="a module"),
        pytest.param(saved(STATE), id="another network"),
        pytest.param(saved(STATE)[:-30], id="cut off"),
        pytest.param(saved(STATE, _use_new_zipfile_serialization=False), id="old layout"),
    ],
)
def test_a_checkpoint_of_somebody_else_stays(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "run/checkpoint.pth"
    path.parent.mkdir()
    path.write_bytes(data)
    refused(tmp_path, "checkpoint.pth: is no checkpoint of this training; name another --output")
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "text", ["", "mine", "[" * 100_000, "[1]", "{}", '{"first_seed": 3}', "\x00\xff"]
)
def test_a_recipe_that_is_none_of_ours_stays(tmp_path: Path, text: str) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/recipe.json").write_text(text, "latin-1")
    refused(tmp_path, "cache holds frames rendered with other settings; remove it or name")


@pytest.mark.parametrize("line", ["mine", "{}", '["a"]', "[1.5]", "[" * 100_000])
def test_a_list_of_objects_that_is_damaged_is_a_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "cache").mkdir()
    keys = ("first_seed", "seeds", "frames_per_seed", "frame_step", "height", "width")
    data = settings(tmp_path).data
    recipe = json.dumps({key: getattr(data, key) for key in keys})
    (tmp_path / "cache/recipe.json").write_text(recipe)
    (tmp_path / "cache/objects.jsonl").write_text(line + "\n")
    with pytest.raises(ConfigError, match=r"objects\.jsonl is damaged; remove the folder"):
        train(settings(tmp_path))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "name",
    [
        *(f"run/{name}" for name in ("checkpoint.pth", "checkpoint.tmp", "log.csv")),
        *("run/weights.safetensors", "run/figures.json", "cache/recipe.json", "cache/images.u8"),
    ],
)
@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: os.symlink("/dev/zero", path),
        lambda path: os.symlink(path.parent.parent / "mine", path),
        lambda path: os.symlink(path, path),
    ],
    ids=["pipe", "folder", "device", "link", "loop"],
)
def test_nothing_is_written_through_what_is_no_file(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    (tmp_path / "mine").write_text("mine")
    path = tmp_path / name
    path.parent.mkdir()
    make(path)
    refused(tmp_path, "is no regular file|is a symbolic link|cannot be read|exists already")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_disk_that_is_full_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "cache/images.u8"))

    monkeypatch.setattr("numpy.memmap", full)
    with pytest.raises(
        ConfigError, match=r"images\.u8: cannot be written: No space left on device"
    ):
        train(settings(tmp_path))


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    refused(tmp_path, "run: cannot write there: .*run is no folder")
