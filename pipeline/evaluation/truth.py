"""What was really there: the truth of a source, frame by frame.

A synthetic source knows its own; for any other the user names a COCO ground truth (`.json`; image
ids are frame indices, images with a file name are matched to pictures by it) or a MOTS text
(`.txt`, frames from 0).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError, in_one_line
from pipeline.formats.image_ids import ImageIds
from pipeline.formats.mots import IGNORE_CLASS, read_mots
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.reading import MAX_JSON_BYTES, read_small
from pipeline.results import FrameResult


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The truth of one source."""

    at: Callable[[FrameResult], Instances | None]
    """What is there in a frame; None: nothing is known of it, it cannot be judged."""
    labels: Mapping[int, str]
    """Names of the classes that are judged."""
    tracked: bool
    """Whether the instances carry track ids."""
    origin: str
    """As messages call it."""
    objects: int | None = None
    """Instances in all frames; None where they are drawn as they are asked for."""
    pictures: int | None = None
    """Frames it knows of; None where it knows every one."""


def truth_of(source_id: str, url: str, gt: Path | None) -> Truth | None:
    """The truth of a source, None where there is none.

    Args:
        source_id: of the run.
        url: of the source.
        gt: a file, or a folder with `<source id>.json` or `<source id>.txt`.

    Raises:
        ConfigError: the file is missing or none of the two formats.
    """
    if gt is not None:
        return _read(_file_for(source_id, gt))
    if not url.startswith("synthetic:"):
        return None
    from pipeline.sources.street.synthetic import SyntheticSource

    source = SyntheticSource(url, source_id=source_id)
    return Truth(lambda result: source.truth(result.index), source.labels, True, origin=url)


def _file_for(source_id: str, gt: Path) -> Path:
    if not gt.is_dir():
        return gt
    for suffix in (".json", ".txt"):
        if (file := gt / f"{source_id}{suffix}").exists():
            return file
    raise ConfigError(f"{gt}: has neither {source_id}.json (COCO) nor {source_id}.txt (MOTS)")


def _read(path: Path) -> Truth:
    if path.suffix == ".txt":
        return _read_mots(path)
    try:
        dataset = json.loads(read_small(path, max_bytes=MAX_JSON_BYTES))
        if not isinstance(dataset, dict):
            kind = "a list, as results are" if isinstance(dataset, list) else repr(dataset)[:40]
            raise TypeError(f"it is no data set but {kind}")
        return _from_coco(dataset, str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: no COCO ground truth: {error!r}") from error


def _from_coco(dataset: Mapping[str, Any], origin: str) -> Truth:
    images = ImageIds.of(dataset.get("images", ()))
    labels = {int(c["id"]): str(c["name"]) for c in dataset["categories"]}
    rows: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in dataset["annotations"]:
        if not row.get("iscrowd"):
            rows[int(row["image_id"])].append(row)
    tracked = bool(dataset["annotations"]) and all("track_id" in r for r in dataset["annotations"])

    def at(result: FrameResult) -> Instances | None:
        image_id = _image_id(result, images)
        if image_id is None:
            return None
        here = rows.get(image_id, [])
        return _instances(
            Masks.from_coco([_rle(row["segmentation"], result.size) for row in here], result.size),
            [int(row["category_id"]) for row in here],
            [int(row["track_id"]) for row in here] if tracked else None,
        )

    objects = sum(map(len, rows.values()))
    return Truth(at, labels, tracked, origin, objects, len(images.ids) or None)


def _image_id(result: FrameResult, images: ImageIds) -> int | None:
    """By the name of the file where both sides have one, else by the frame index."""
    if result.file is not None and images.names[0]:
        return images.id_of(result.file)
    return result.index if result.index in images.ids or not images.ids else None


def _rle(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Polygons, or runs in either form, as one compressed RLE."""
    from pycocotools import mask as coco_mask

    height, width = size
    if isinstance(segmentation, list):
        try:
            merged = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        except Exception as error:  # the library raises nothing more precise
            raise ValueError(f"no outline in an annotation: {in_one_line(error)}") from error
        return {"size": [height, width], "counts": merged["counts"]}
    return dict(segmentation)


def _read_mots(path: Path) -> Truth:
    table = read_mots(path)
    known = {1: "car", 2: "pedestrian"}  # the classes of KITTI-MOTS and MOTS20
    judged = sorted(set(table.classes.tolist()) - {IGNORE_CLASS})
    labels = {class_id: known.get(class_id, f"class {class_id}") for class_id in judged}

    def at(result: FrameResult) -> Instances:
        here = np.flatnonzero((table.frames == result.index) & (table.classes != IGNORE_CLASS))
        return _instances(
            Masks.from_coco(table.coco(here), result.size),
            table.classes[here].tolist(),
            table.ids[here].tolist(),
        )

    objects = int(np.count_nonzero(table.classes != IGNORE_CLASS))
    return Truth(at, labels, True, str(path), objects)


def _instances(masks: Masks, class_ids: list[int], track_ids: list[int] | None) -> Instances:
    return Instances(
        boxes=masks.boxes().astype(np.float32),
        scores=np.ones(len(masks), np.float32),
        class_ids=np.array(class_ids, np.int64),
        masks=masks,
        track_ids=None if track_ids is None else np.array(track_ids, np.int64),
    )
