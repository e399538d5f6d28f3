"""Pictures of a data set are found by their file names, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.formats.image_ids import ImageIds, read_image_ids


def ids(*names: str | None) -> ImageIds:
    return ImageIds.of({"id": 100 + i, "file_name": name} for i, name in enumerate(names))


@pytest.mark.parametrize(
    ("names", "file", "expected"),
    [
        pytest.param(("b.jpg", "a.jpg"), "a.jpg", 101, id="whole"),
        pytest.param(("val/a.jpg", "val/b.jpg"), "b.jpg", 101, id="last-part"),
        pytest.param(("a.jpg", "b.jpg"), "cam/b.jpg", 101, id="last-part-of-ours"),
        pytest.param(("a.jpg", "b.jpg"), "b.png", 101, id="without-suffix"),
        pytest.param(("x/1.jpg", "y/1.jpg"), "y/1.jpg", 101, id="same-name-in-two-folders"),
        pytest.param(("x/1.jpg", "y/1.jpg"), "1.jpg", None, id="uncertain"),
        pytest.param(("x/1.jpg", "y/1.jpg"), "z/1.png", None, id="uncertain-without-suffix"),
        pytest.param(("1.jpg", "1.png"), "1.png", 101, id="suffixes-differ"),
        pytest.param(("1.jpg", "1.png"), "1.webp", None, id="uncertain-suffix"),
        pytest.param(("a.jpg", "a.jpg"), "a.jpg", None, id="one-name-twice"),
        pytest.param(("./a.jpg", "b.jpg"), "a.jpg", 100, id="dot"),
        pytest.param(("cafe\u0301.jpg",), "caf\u00e9.jpg", 100, id="letters-apart"),
        pytest.param((None, "a.jpg"), "a.jpg", 101, id="one-without-a-name"),
        pytest.param(("a.jpg",), "b.jpg", None, id="not-there"),
    ],
)
def test_a_picture_is_found_by_its_name(
    names: tuple[str | None, ...], file: str, expected: int | None
) -> None:
    assert ids(*names).id_of(file) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "no COCO file with a list of images"),
        ("{}", "no COCO file with a list of images"),
        ("nothing", "no COCO file with a list of images"),
        ('{"images": [{"file_name": "a.jpg"}]}', "no COCO file with a list of images"),
        ('{"images": [{"id": 1}]}', "its images have no file_name to match pictures by"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_names_no_pictures_is_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "truth.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=f"^{path}: {message}"):
        read_image_ids(path)


def test_a_file_of_a_data_set_is_read_whole(tmp_path: Path) -> None:
    images: list[Any] = [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}]
    (tmp_path / "t.json").write_text(json.dumps({"images": images, "annotations": []}))
    assert read_image_ids(tmp_path / "t.json").ids == {7, 9}
