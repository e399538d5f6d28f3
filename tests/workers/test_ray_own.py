"""How a Ray of our own is asked for, without starting one."""

import logging
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from pipeline.errors import MaskstreamError
from workers import ray_own
from workers.private import PrivateFolder
from workers.ray_own import free_for_objects, start_ray
from workers.surroundings import look_again


@pytest.fixture
def folder() -> Iterator[PrivateFolder]:
    made = PrivateFolder()
    yield made
    made.remove()
    look_again()  # Ray in this process was told of tokens


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of each start, with the environment its processes would inherit."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(
        ray, "init", lambda **options: calls.append({**options, "environ": dict(os.environ)})
    )
    return calls


def test_a_token_of_its_own_is_forced_whatever_the_environment_says(
    asked: list[dict[str, Any]], folder: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "known-to-many")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/somebody/token")
    start_ray(1 << 28, folder)
    start_ray(1 << 28, folder)
    tokens = {call["environ"]["RAY_AUTH_TOKEN"] for call in asked}
    assert len(tokens) == 2
    assert "known-to-many" not in tokens
    assert {len(token) for token in tokens} == {64}
    assert {call["environ"]["RAY_AUTH_MODE"] for call in asked} == {"token"}
    assert all("RAY_AUTH_TOKEN_PATH" not in call["environ"] for call in asked)
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert os.environ["RAY_AUTH_TOKEN"] == "known-to-many"


def test_pictures_of_a_megabyte_need_no_object(
    asked: list[dict[str, Any]], folder: PrivateFolder
) -> None:
    start_ray(1 << 28, folder)
    (call,) = asked
    assert call["environ"]["RAY_max_direct_call_object_size"] == "1000000"
    assert "RAY_max_direct_call_object_size" not in os.environ


def test_its_files_are_in_the_private_folder_and_objects_in_memory(
    asked: list[dict[str, Any]], folder: PrivateFolder
) -> None:
    start_ray(1 << 28, folder)
    (call,) = asked
    assert call["_temp_dir"] == f"{folder.path}/ray"
    assert call["_plasma_directory"] is None
    assert call["object_store_memory"] == 1 << 28


def test_what_keeps_python_processes_from_coming_up_is_not_handed_on(
    asked: list[dict[str, Any]], folder: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONINSPECT"):
        monkeypatch.setenv(name, "1")
    start_ray(1 << 28, folder)
    (call,) = asked
    assert [name for name in call["environ"] if name.startswith("PYTHONO")] == []
    assert "PYTHONWARNINGS" not in call["environ"]
    assert "PYTHONINSPECT" not in call["environ"]
    assert call["environ"]["PYTHONSAFEPATH"] == "1"


def test_without_shared_memory_objects_go_through_files_which_is_said(
    asked: list[dict[str, Any]],
    folder: PrivateFolder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ray_own, "SHARED_MEMORY", "/proc")
    assert abs(free_for_objects(folder) - shutil.disk_usage(folder.path).free) < 1 << 30
    with caplog.at_level(logging.WARNING):
        start_ray(1 << 28, folder)
    (call,) = asked
    assert call["_plasma_directory"] == f"{folder.path}/ray"
    assert caplog.messages == [
        f"/proc is not writable: frames go through files in {folder.path}, which is slower; "
        "make it writable, or use --local"
    ]


def test_a_ray_that_does_not_start_twice_is_one_line(
    folder: PrivateFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(**options: object) -> None:
        raise RuntimeError("no luck\nand a page of advice")

    monkeypatch.setattr(ray, "init", fails)
    with pytest.raises(MaskstreamError) as caught:
        start_ray(1 << 28, folder)
    assert str(caught.value) == (
        "Ray does not start here: no luck; `maskstream doctor` may know why, "
        "`--local` runs without it"
    )
    assert caplog.messages == ["Ray did not start, trying once more: no luck"]
    assert "RAY_AUTH_TOKEN" not in os.environ
