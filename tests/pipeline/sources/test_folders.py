"""What stands in a folder or matches a glob: entries by what they are, each once, in order."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.cli.sources import expand_sources
from pipeline.errors import ConfigError, SourceOpenError
from pipeline.sources import Kind, expand, fingerprint, kind_of, open_source, probe
from pipeline.sources.folders import matches, natural_key
from pipeline.sources.naming import images_of
from pipeline.stages import Status


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((6, 8, 3), 9, np.uint8))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "names",
    [
        ("cam2/1.png", "cam10/1.png"),
        ("2/b10/x.png", "10/b2/x.png", "10/b10/x.png"),
        ("a2.png", "a10.png", "a10b.png", "b.png"),
        ("5²2.png", "5²3.png"),
        ("v٢.png", "v١٠.png"),  # noqa: RUF001 - digits of another script
        ("9" * 60 + ".png", "1" + "0" * 60 + ".png"),
        ("007.png", "7.png"),  # one number: by the exact name
    ],
)
def test_every_part_of_a_path_is_sorted_by_number(names: tuple[str, ...]) -> None:
    assert sorted(map(Path, reversed(names)), key=natural_key) == list(map(Path, names))


def test_pictures_of_many_folders_come_in_the_order_of_the_folders(here: Path) -> None:
    touch(here, "cam10/1.png", "cam2/10.png", "cam2/9.png")
    assert [str(path) for path in images_of("*/*.png")] == [
        "cam2/9.png",
        "cam2/10.png",
        "cam10/1.png",
    ]


@pytest.mark.parametrize("url", ["clips", "clips/*", "clips/*.mp4", "cli*", "**/*.mp4", "**"])
def test_hidden_names_are_no_entries(here: Path, url: str) -> None:
    touch(here, "clips/street.mp4", "clips/._street.mp4", "clips/._street.png", ".old/x.mp4")
    assert expand([url]) == [("street", "clips/street.mp4")]


@pytest.mark.parametrize("url", ["shoot", "shoot/*", "sh*t/*", "shoot/**"])
def test_pictures_beside_videos_are_one_source_and_each_video_another(here: Path, url: str) -> None:
    touch(here, "shoot/10.mp4", "shoot/2.mkv", "shoot/cover.jpg", "shoot/notes.txt")
    assert [made for _, made in expand([url])] == [url, "shoot/2.mkv", "shoot/10.mp4"]
    assert [path.name for path in images_of(url)] == ["cover.jpg"]


@pytest.mark.parametrize("url", ["shoot/*", "sho*/**", "shoot/c*", "shoot/*.*", "shoot/*.p[gn]*"])
def test_pictures_that_a_glob_without_their_suffix_matches_are_read(here: Path, url: str) -> None:
    (here / "shoot").mkdir()
    for name in ("c1.png", "c2.png"):
        cv2.imwrite(f"shoot/{name}", np.zeros((3, 4, 3), np.uint8))
    ((source_id, found),) = expand([url])
    assert kind_of(found) is Kind.IMAGES
    reading = open_source(found, source_id=source_id)
    assert [str(frame.file)[-6:] for frame in reading.frames()] == ["c1.png", "c2.png"]


def test_pictures_of_a_kind_that_is_not_read_are_left_out_and_said(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(here, "raw/1.png", "raw/2.DNG", "raw/3.dng", "raw/4.jxl", "raw/notes.txt")
    assert [path.name for path in images_of("raw")] == ["1.png"]
    assert [path.name for path in images_of("raw/*")] == ["1.png"]
    assert caplog.messages == [
        f"raw: {kind} is not read; a picture of that kind is left out" for kind in (".dng", ".jxl")
    ]


def test_the_command_line_takes_a_mixed_folder_whole(here: Path) -> None:
    touch(here, "shoot/a.mp4", "shoot/cover.jpg")
    assert expand_sources(["shoot", {"url": "shoot/a.mp4", "stride": 2}]) == [
        {"url": "shoot", "id": "shoot"},
        {"url": "shoot/a.mp4", "id": "a"},
        {"url": "shoot/a.mp4", "id": "a-2", "stride": 2},
    ]


@pytest.mark.parametrize("url", ["clips", "clips/*", "clips/*.mp4", "**/*.mp4"])
def test_a_folder_called_like_a_video_or_picture_is_no_entry(here: Path, url: str) -> None:
    touch(here, "clips/a.mp4")
    (here / "clips" / "sub.mp4").mkdir()
    (here / "clips" / "sub.png").mkdir()
    assert expand([url]) == [("a", "clips/a.mp4")]


def test_a_folder_matched_by_a_glob_stands_for_what_the_glob_does_not_reach(here: Path) -> None:
    touch(here, "set/a/1.png", "set/b/x.mp4", "set/c/readme.txt", "set/top.mp4")
    (here / "set" / "empty").mkdir()
    urls = [url for _, url in expand(["set/*"])]
    assert urls == ["set/top.mp4", "set/a", "set/b/x.mp4"]
    assert [url for _, url in expand(["set/**/*.*"])] == [
        "set/**/*.*",
        "set/b/x.mp4",
        "set/top.mp4",
    ]


def test_a_folder_that_links_lead_to_as_well_is_taken_once(here: Path) -> None:
    touch(here, "set/a/x.mp4", "set/top.mp4")
    for name, target in (("again", "a"), ("loop", "."), ("up", ".."), ("z.mp4", "../set")):
        (here / "set" / name).symlink_to(target)
    assert [url for _, url in expand(["set/*"])] == ["set/top.mp4", "set/a/x.mp4"]


@pytest.mark.parametrize("url", ["*", "hollow", "hollow/*", "**/*.mp4"])
def test_folders_of_nothing_are_refused(here: Path, url: str) -> None:
    (here / "hollow" / "sub.mp4").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"no picture .* and no video in|no picture and no video"):
        expand([url])


def test_a_link_to_a_folder_above_is_not_followed_for_ever(here: Path) -> None:
    draw(here / "l" / "x" / "1.png")
    (here / "l" / "x" / "loop").symlink_to("..")
    (here / "l" / "self").symlink_to(".")
    assert [str(path) for path in images_of("l/**/*.png")] == ["l/x/1.png"]
    reading = open_source("l/**/*.png", source_id="l")
    assert (len(list(reading.frames())), reading.outcome.status) == (1, Status.COMPLETE)


def test_folders_that_links_lead_to_in_a_thousand_million_ways_are_visited_once(here: Path) -> None:
    for level in range(30):
        (here / f"d{level}").mkdir()
        for name in ("a", "b"):
            (here / f"d{level}" / name).symlink_to(here / f"d{level + 1}")
    touch(here, "d30/1.png")
    assert [str(path) for path in images_of("d0/**/*.png")] == ["d0/" + "a/" * 30 + "1.png"]


@pytest.mark.parametrize(
    "pattern",
    [
        *("*.png", "**", "**/*.png", "a/**", "**/b/**/*.png", "*/", "a/*/", "[ab]/*", "*/b", "**/"),
        *(
            "?/b/../*.png",
            ".hid*/*",
            "a/.h*",
            "none*",
            "a/b.png",
            "x/**/*.png",
            "./a/*",
            "a//*.png",
        ),
    ],
)
def test_without_loops_a_glob_matches_what_the_library_says(here: Path, pattern: str) -> None:
    touch(here, "1.png", "a/2.png", "a/b/3.png", "a/b/c/4.png", "b/5.png", "x", "a/.h.png")
    touch(here, ".hidden/6.png", "b/.hidden/7.png")
    for start in ("", f"{here}/"):
        expected = {Path(name) for name in glob.glob(start + pattern, recursive=True)}
        assert set(matches(start + pattern)) == expected


NO_FILE = "cannot be read: not a regular file"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(os.mkfifo, NO_FILE, id="pipe"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), NO_FILE, id="endless-device"),
        pytest.param(lambda path: path.symlink_to("/dev/null"), NO_FILE, id="null-device"),
        pytest.param(
            lambda path: path.symlink_to("gone"),
            "cannot be read: no such file or directory",
            id="dangling-link",
        ),
        pytest.param(
            lambda path: path.symlink_to(path.name),
            "cannot be read: too many levels of symbolic links",
            id="link-to-itself",
        ),
    ],
)
def test_what_is_no_file_is_left_out_and_said(here: Path, make: Any, reason: str) -> None:
    draw(here / "p" / "1.png")
    make(here / "p" / "2.png")
    reading = open_source("p", source_id="p")
    assert len(list(reading.frames())) == 1
    assert reading.outcome.status is Status.INCOMPLETE
    assert reading.outcome.reason == f"1 of 2 pictures left out, first 2.png {reason}"
    assert len(fingerprint("p")) == 64
    assert probe("p").frames == 2  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["2.png", "2.mp4"])
def test_a_pipe_is_neither_waited_for_nor_taken_for_a_file(here: Path, name: str) -> None:
    os.mkfifo(here / name)
    assert len(fingerprint(name)) == 64
    with pytest.raises(SourceOpenError, match="not a regular file"):
        list(open_source(name, source_id="pipe").frames())


def test_a_link_to_a_picture_is_a_picture(here: Path) -> None:
    draw(here / "store" / "x.png")
    (here / "p").mkdir()
    (here / "p" / "1.png").symlink_to(here / "store" / "x.png")
    assert len(list(open_source("p", source_id="p").frames())) == 1


@pytest.mark.parametrize("url", ["clips", "clips/*.mp4", "mixed"])
def test_several_sources_have_no_place_under_one_id(here: Path, url: str) -> None:
    touch(here, "clips/a.mp4", "clips/b.mp4", "mixed/a.mp4", "mixed/1.png")
    with pytest.raises(ConfigError, match=r"^source gate: .* stands for 2 sources \(.*a.mp4.*\); "):
        expand_sources([{"id": "gate", "url": url}])


@pytest.mark.parametrize("url", ["walk", "walk/*.png", "gone.mp4", "gone", "gone/*.png"])
def test_one_source_keeps_the_id_it_was_given(here: Path, url: str) -> None:
    touch(here, "walk/1.png", "walk/2.png")
    assert expand_sources([{"id": "gate", "url": url}]) == [{"id": "gate", "url": url}]


@pytest.mark.parametrize("pattern", ["*/*.jpg", "**/*.jpg"])
def test_a_folder_below_a_glob_that_cannot_be_read_is_said_and_costs_the_others_nothing(
    pattern: str, here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    touch(here, "a/1.jpg", "locked/2.jpg")
    listdir = os.listdir

    def refusing(folder: str) -> list[str]:
        if folder == "locked":
            raise PermissionError(13, "Permission denied")
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refusing)
    for _ in range(2):
        assert list(matches(pattern)) == [Path("a/1.jpg")]
    assert caplog.messages == [f"{here}/locked: Permission denied; what it holds is left out"]
