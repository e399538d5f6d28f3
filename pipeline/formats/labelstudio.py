"""Label Studio's tasks: one a frame, its instances as brush masks (`<BrushLabels>`).

Its video regions hold boxes only, so a task is the picture of a frame: what the sink `frames:`
wrote, served from local files. The id of a region is that of its track, which lasts through
corrections; `data.maskstream` keeps what is known of the frame. Both directions go task by task.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.formats import jsonl
from pipeline.formats.brush import pack, unpack
from pipeline.formats.exchange import (
    KEPT,
    Assumed,
    ClassNumbers,
    kept_of,
    picture_name,
    result_of,
    rle_of,
    understood,
    with_tracks,
)
from pipeline.formats.json_list import objects
from pipeline.formats.polygons import filled
from pipeline.masks import Masks
from pipeline.results import FrameResult

_SERVED = "/data/local-files/?d="
_TRACK = re.compile(r"track-(\d{1,18})")


def write(part: Path, results: Iterable[FrameResult]) -> None:
    """Write tasks with predictions, which are annotations once somebody accepts them."""
    before = b"[\n"
    with part.open("wb") as file:
        for result in results:
            file.write(before + jsonl.dumps(_task(result)))
            before = b",\n"
        file.write(b"\n]\n" if before == b",\n" else b"[]\n")


def _task(result: FrameResult) -> dict[str, Any]:
    record = jsonl.record(result)
    classes = {row["label"]: row["class_id"] for row in record["instances"]}
    kept = {**kept_of(record), "classes": classes}
    kept |= {"width": record["width"], "height": record["height"]}
    regions = [
        _region(record, number, row, result.instances.masks[[number]].dense()[0])
        for number, row in enumerate(record["instances"])
    ]
    return {
        "data": {
            "image": f"{_SERVED}{record['source']}/{picture_name(record)}",
            KEPT: kept,
        },
        "predictions": [{"model_version": record["model"], "result": regions}],
    }


def _region(
    record: Mapping[str, Any], number: int, row: Mapping[str, Any], mask: NDArray[np.bool_]
) -> dict[str, Any]:
    region = {
        "id": f"untracked-{number}" if row["track"] is None else f"track-{row['track']}",
        "type": "brushlabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": record["width"],
        "original_height": record["height"],
        "image_rotation": 0,
        "score": row["score"],
        "value": {"format": "rle", "rle": pack(mask), "brushlabels": [row["label"]]},
    }
    if row.get("predicted"):
        region["predicted"] = True
    return region


def read(path: Path, assumed: Assumed) -> Iterator[FrameResult]:
    """Yield the frames of tasks: the last annotation that was not cancelled, else the prediction.

    The file is read twice: class and track ids are known from any task, and what is new is numbered
    behind them. Regions that are neither brush nor polygon are left out and counted.
    """
    with understood(path, "a list of Label Studio tasks"):
        known: dict[str, int] = {}
        last = -1
        for task in objects(path):
            kept = task["data"].get(KEPT)
            known |= kept.get("classes", {}) if isinstance(kept, Mapping) else {}
            tracks = (_track(region) for region in _regions(task))
            last = max([last, *(track for track in tracks if track is not None)])
        numbers = ClassNumbers(assumed, {str(name): int(i) for name, i in known.items()})
        fresh = count(last + 1) if last >= 0 else None
        for number, task in enumerate(objects(path)):
            yield _frame(number, task, numbers, assumed, fresh)


def _frame(
    number: int,
    task: Mapping[str, Any],
    numbers: ClassNumbers,
    assumed: Assumed,
    fresh: Iterator[int] | None,
) -> FrameResult:
    regions = _regions(task)
    kept = task["data"].get(KEPT)
    if isinstance(kept, Mapping):
        size = int(kept["height"]), int(kept["width"])
        kept = {k: v for k, v in kept.items() if k not in ("classes", "width", "height")}
    elif regions:
        size = int(regions[0]["original_height"]), int(regions[0]["original_width"])
    else:
        raise ValueError(f"task {number} has no region, so nothing tells the size of its picture")
    name = str(task["data"].get("image", "")).rpartition("?d=")[2].rpartition("/")[2]
    head = assumed.head(number, size, kept=kept, file=name or None)
    found = (_row(region, size, numbers, assumed) for region in regions)
    return result_of(head, with_tracks([row for row in found if row is not None], fresh))


def _regions(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    done = [a for a in task.get("annotations") or () if not a.get("was_cancelled")]
    chosen = done or list(task.get("predictions") or ())
    return list(chosen[-1]["result"]) if chosen else []


def _row(
    region: Mapping[str, Any], size: tuple[int, int], numbers: ClassNumbers, assumed: Assumed
) -> dict[str, Any] | None:
    kind, value = str(region["type"]), region["value"]
    if int(region.get("image_rotation") or 0):
        raise ValueError(f"region {region.get('id')!r} is of a picture that was turned")
    if kind == "brushlabels":
        mask = rle_of(Masks.from_dense(unpack(value["rle"], size)[None]))
    elif kind == "polygonlabels":
        height, width = size
        flat = [c for x, y in value["points"] for c in (x * width / 100, y * height / 100)]
        mask = filled([flat], size)
    else:
        assumed.left_out[f"regions of type {kind}"] += 1
        return None
    label = str(value[kind][0])
    return {
        "track": _track(region),
        "label": label,
        "box": None,
        "mask": mask,
        "class_id": numbers.id_of(label),
        "score": region.get("score", 1.0),
        "predicted": bool(region.get("predicted", False)),
    }


def _track(region: Mapping[str, Any]) -> int | None:
    match = _TRACK.fullmatch(str(region.get("id")))
    return int(match[1]) if match else None
