"""COCO's two JSON forms: the results of a run, and a data set to train on or to judge it by.

`image_id` is the frame index, counted from 0 as in every record of the project, or the id a data
set gives the picture. Boxes are `[x, y, width, height]`, masks compressed RLE. pycocotools reads
both files as they are. Reading a data set takes the whole file into memory: images and annotations
stand in two lists of any order.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.formats import jsonl
from pipeline.formats.exchange import (
    KEPT,
    Assumed,
    kept_of,
    picture_name,
    result_of,
    understood,
)
from pipeline.formats.polygons import corners, rle_of_segmentation
from pipeline.formats.whole import Spool
from pipeline.instances import Instances
from pipeline.reading import open_regular
from pipeline.results import FrameResult

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def result_rows(result: FrameResult, image_id: int | None = None) -> list[dict[str, Any]]:
    """One row of a results file for each instance of a frame.

    Args:
        result: of the frame; a picture's rows have its name as `file_name`.
        image_id: what a data set calls the picture; None: the frame index.
    """
    found = result.instances
    named = {} if result.file is None else {"file_name": result.file}
    return [
        {
            "image_id": result.index if image_id is None else image_id,
            **named,
            "category_id": class_id,
            "segmentation": mask,
            "score": score,
            "bbox": box,
        }
        for class_id, mask, score, box in zip(
            found.class_ids.tolist(),
            found.masks.to_coco(),
            np.round(found.scores.astype(np.float64), 4).tolist(),
            _xywh(found),
            strict=True,
        )
    ]


def dumps_rows(result: FrameResult, image_id: int | None = None) -> bytes:
    """`result_rows`, comma and newline between them; empty where there are none."""
    return ",\n".join(_encode(row) for row in result_rows(result, image_id)).encode()


def write(part: Path, results: Iterable[FrameResult]) -> None:
    """Write a data set: every frame an image, every instance an annotation with id from 1.

    pycocotools takes the annotation id 0 for "not matched". Score, track id and what else a record
    has are kept beside what COCO knows.
    """
    labels: dict[int, str] = {}
    number = 0
    with part.open("wb") as file, Spool(part) as images:
        file.write(b'{"annotations":[')
        for result in results:
            record = jsonl.record(result)
            images.add((b",\n" if images.size else b"\n") + jsonl.dumps(_image(record)))
            for row in record["instances"]:
                number += 1
                annotation = _annotation(number, record["frame"], row)
                file.write((b",\n" if number > 1 else b"\n") + jsonl.dumps(annotation))
            labels.update(result.labels)
        file.write(b'\n],"images":[')
        images.copy_to(file)
        categories = [{"id": class_id, "name": name} for class_id, name in sorted(labels.items())]
        more = {"categories": categories, "info": {"description": "written by maskstream"}}
        file.write(b"\n]," + jsonl.dumps(more)[1:] + b"\n")


def read(path: Path, assumed: Assumed) -> Iterator[FrameResult]:
    """Yield the frames of a data set, those without annotations too, or of a results file.

    What has neither outline nor runs is left out and counted, crowds too.
    """
    with understood(path, "a COCO data set or results file"):
        with open_regular(path) as file:
            content = json.load(file)
        data = {"annotations": content} if isinstance(content, list) else content
        rows: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for row in data["annotations"]:
            rows[int(row["image_id"])].append(row)
        images = data.get("images", ()) if data is content else _images_of(rows)
        names = {int(c["id"]): str(c["name"]) for c in data.get("categories", ())}
        read = [_frame(image, rows.pop(int(image["id"]), []), names, assumed) for image in images]
        if rows:
            raise ValueError(f"annotations of an image that is not there: {min(rows)}")
        for head, found in sorted(read, key=lambda frame: (frame[0]["epoch"], frame[0]["frame"])):
            yield result_of(head, found)


def _image(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": record["frame"],
        "file_name": picture_name(record),
        "width": record["width"],
        "height": record["height"],
        KEPT: kept_of(record),
    }


def _annotation(number: int, image_id: int, row: Mapping[str, Any]) -> dict[str, Any]:
    x1, y1, x2, y2 = row["box"]
    annotation = {
        "id": number,
        "image_id": image_id,
        "category_id": row["class_id"],
        "segmentation": row["mask"],
        "area": row["area"],
        "iscrowd": 0,
        "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
        "score": row["score"],
    }
    if row["track"] is not None:
        annotation["track_id"] = row["track"]
    if row.get("predicted"):
        annotation["predicted"] = True
    return annotation


def _images_of(rows: Mapping[int, list[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The images a results file speaks of."""
    return [
        {
            "id": image_id,
            "file_name": here[0].get("file_name"),
            **dict(zip(("height", "width"), here[0]["segmentation"]["size"], strict=True)),
        }
        for image_id, here in rows.items()
    ]


def _frame(
    image: Mapping[str, Any],
    rows: list[Mapping[str, Any]],
    names: Mapping[int, str],
    assumed: Assumed,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    size = int(image["height"]), int(image["width"])
    file = image.get("file_name")
    head = assumed.head(int(image["id"]), size, kept=image.get(KEPT), file=file)
    found: list[dict[str, Any]] = []
    for row in rows:
        class_id = int(row["category_id"])
        if names and class_id not in names:
            raise ValueError(f"category {class_id} of annotation {row.get('id')} is not declared")
        mask = None if row.get("iscrowd") else rle_of_segmentation(row.get("segmentation"), size)
        if mask is None:
            assumed.left_out["crowds" if row.get("iscrowd") else "boxes without a mask"] += 1
            continue
        found.append(
            {
                "track": row.get("track_id"),
                "class_id": class_id,
                "mask": mask,
                "label": assumed.label(class_id, names.get(class_id)),
                "score": row.get("score", 1.0),
                "box": corners(row.get("bbox")),
                "predicted": bool(row.get("predicted", False)),
            }
        )
    return head, found


def _xywh(instances: Instances) -> list[list[float]]:
    boxes = instances.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    rows: list[list[float]] = (np.round(boxes, 2) + 0.0).tolist()
    return rows
