"""YOLO segmentation labels: a text a picture, `class x y x y ...` a line, fractions of the picture.

The class is the class id itself, so that labels of several runs may be put together; `data.yaml`
names it. A mask of several parts is one line that goes from ring to ring and back, as training
tools join COCO's parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pipeline.errors import SourceError
from pipeline.formats import jsonl
from pipeline.formats.exchange import picture_name
from pipeline.masks import Masks
from pipeline.results import FrameResult

LABELS, DATA = "labels", "data.yaml"


def write(part: Path, results: Iterable[FrameResult]) -> None:
    """Write `labels/<picture>.txt` for every frame, empty without instances, and `data.yaml`."""
    names: dict[int, str] = {}
    for result in results:
        record = jsonl.record(result)
        file = part / LABELS / _text_of(record)
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with file.open("x", encoding="ascii") as text:
                text.writelines(_lines(record, result.instances.masks))
        except FileExistsError:
            raise SourceError(
                f"frame {record['frame']}: two pictures would have the labels {_text_of(record)}"
            ) from None
        names.update(result.labels)
    # training tools count classes from 0 without a gap
    every = {i: names.get(i, f"unused {i}") for i in range(max(names, default=-1) + 1)}
    content = {"path": ".", "train": "images", "val": "images", "names": every}
    (part / DATA).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")


def _text_of(record: Mapping[str, Any]) -> PurePosixPath:
    name = PurePosixPath(picture_name(record))
    if name.is_absolute() or ".." in name.parts or not name.name or "\0" in str(name):
        raise SourceError(f"frame {record['frame']}: no name of a picture: {str(name)!r}")
    return name.with_suffix(".txt")


def _lines(record: Mapping[str, Any], masks: Masks) -> Iterable[str]:
    width, height = record["width"], record["height"]
    for number, row in enumerate(record["instances"]):
        rings = [part.outer.tolist() for part in masks.polygons(number)]
        corners = [corner for ring in rings for corner in (*ring, ring[0])]
        corners += [ring[0] for ring in rings[-2::-1]]
        if len(rings) == 1:
            corners.pop()  # one ring closes itself
        if corners:
            where = " ".join(f"{x / width:.6f} {y / height:.6f}" for x, y in corners)
            yield f"{row['class_id']} {where}\n"
