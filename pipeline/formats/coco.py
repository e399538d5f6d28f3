"""COCO's two JSON forms: the results of a run, and a ground truth to judge it by.

`image_id` is the frame index, counted from 0 as in every record of the project, or the id a data
set gives the picture. Boxes are `[x, y, width, height]`, masks compressed RLE. pycocotools reads
both files as they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import SourceError
from pipeline.instances import Instances
from pipeline.masks import Masks
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


def write_ground_truth(
    path: str | Path,
    frames: Iterable[tuple[int, Instances, tuple[int, int]]],
    labels: Mapping[int, str],
) -> None:
    """Write a COCO ground truth, the file replaced whole at the end.

    Annotation ids count from 1 (pycocotools takes 0 for "not matched"). Track ids, where there
    are any, are kept in the key `track_id`.

    Args:
        path: the JSON file.
        frames: frame index, true instances and picture size (height, width) of each frame,
            those without instances included: they are the negatives.
        labels: names by class id, the `categories` of the file.

    Raises:
        OSError: the file cannot be written; what stood there before is untouched.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, truth, (height, width) in frames:
        images.append(
            {"id": index, "width": width, "height": height, "file_name": f"{index:06d}.jpg"}
        )
        annotations.extend(_annotations(index, truth, first_id=len(annotations) + 1))
    categories = [{"id": class_id, "name": name} for class_id, name in sorted(labels.items())]
    content = {
        "info": {"description": "written by maskstream", "version": "1"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        part.write_text(_encode(content), encoding="utf-8")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def read_results(path: str | Path) -> Iterator[tuple[int, Instances]]:
    """Yield frame index and instances of a results file, frames without instances left out.

    Args:
        path: a results file whose rows are in the order of their frames, as the sink writes it.

    Raises:
        SourceError: the file cannot be read or is no results file.
    """
    try:
        rows = json.loads(Path(path).read_bytes())
        for index, group in groupby(rows, key=lambda row: int(row["image_id"])):
            yield index, _from_rows(list(group))
    except OSError as error:
        raise SourceError(f"{path}: cannot read COCO results: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise SourceError(
            f"{path}: not a COCO results file, a list of objects with image_id, category_id, "
            f"segmentation and score: {error!r}"
        ) from error


def _from_rows(rows: list[Mapping[str, Any]]) -> Instances:
    height, width = rows[0]["segmentation"]["size"]
    boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Instances(
        boxes=boxes,
        scores=np.array([row["score"] for row in rows], np.float32),
        class_ids=np.array([row["category_id"] for row in rows], np.int64),
        masks=Masks.from_coco([row["segmentation"] for row in rows], (height, width)),
    )


def _annotations(index: int, truth: Instances, first_id: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "id": first_id + i,
            "image_id": index,
            "category_id": class_id,
            "segmentation": mask,
            "area": area,
            "bbox": box,
            "iscrowd": 0,
        }
        for i, (class_id, mask, area, box) in enumerate(
            zip(
                truth.class_ids.tolist(),
                truth.masks.to_coco(),
                truth.masks.areas().tolist(),
                _xywh(truth),
                strict=True,
            )
        )
    ]
    if truth.track_ids is not None:
        for row, track_id in zip(rows, truth.track_ids.tolist(), strict=True):
            row["track_id"] = track_id
    return rows


def _xywh(instances: Instances) -> list[list[float]]:
    boxes = instances.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    rows: list[list[float]] = (np.round(boxes, 2) + 0.0).tolist()
    return rows
