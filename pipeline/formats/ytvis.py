"""YouTube-VIS data sets: videos, and annotations that hold a whole track each, frame by frame.

A video here is one epoch of a run, for it has one picture size. The format wants a track's masks of
all frames in one object: they are put aside on the disk until the last frame is known, and reading
takes the whole file into memory.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.formats import jsonl
from pipeline.formats.exchange import KEPT, Assumed, kept_of, picture_name, result_of, understood
from pipeline.formats.polygons import corners, rle_of_segmentation
from pipeline.formats.whole import Spool
from pipeline.reading import open_regular
from pipeline.results import FrameResult

_PER_FRAME = ("frame", "pts_s", "captured_at", "clock", "file")


@dataclass(slots=True)
class _Video:
    """What is known of one epoch so far; masks are in the spool."""

    width: int
    height: int
    kept: dict[str, Any]
    """What is the same for all its frames."""
    names: list[str] = field(default_factory=list)
    frames: list[list[Any]] = field(default_factory=list)
    """`_PER_FRAME` of each frame."""
    tracks: dict[int, array[int]] = field(default_factory=dict)
    """Frame number, place and length in the spool of each mask, by track id."""
    classes: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))


def write(part: Path, results: Iterable[FrameResult]) -> None:
    """Write a data set; a track whose class changes has `category_ids` beside its most frequent."""
    videos: dict[int, _Video] = {}
    labels: dict[int, str] = {}
    with part.open("wb") as file, Spool(part) as spool:
        for result in results:
            record = jsonl.record(result)
            _add(videos, record, spool)
            labels.update(result.labels)
        file.write(b'{"annotations":[')
        _write_tracks(file, videos, spool)
        more = {
            "videos": [_video(number, video) for number, video in enumerate(videos.values(), 1)],
            "categories": [{"id": i, "name": name} for i, name in sorted(labels.items())],
            "info": {"description": "written by maskstream"},
        }
        file.write(b"\n]," + jsonl.dumps(more)[1:] + b"\n")


def _add(videos: dict[int, _Video], record: dict[str, Any], spool: Spool) -> None:
    kept = kept_of(record)
    per_frame = [kept.pop(name, None) for name in _PER_FRAME]
    video = videos.setdefault(record["epoch"], _Video(record["width"], record["height"], kept))
    for row in record["instances"]:
        piece = jsonl.dumps(row)
        places = video.tracks.setdefault(row["track"], array("q"))
        places.extend((len(video.frames), spool.add(piece), len(piece)))
        video.classes[row["track"]][row["class_id"]] += 1
    video.frames.append(per_frame)
    video.names.append(picture_name(record))


def _write_tracks(file: BinaryIO, videos: Mapping[int, _Video], spool: Spool) -> None:
    number = 0
    for video_id, video in enumerate(videos.values(), 1):
        for track, places in video.tracks.items():
            number += 1
            annotation = {
                "id": number,
                "video_id": video_id,
                "iscrowd": 0,
                "track_id": track,
                "category_id": video.classes[track].most_common(1)[0][0],
                "width": video.width,
                "height": video.height,
                **_columns(places, len(video.frames), spool),
            }
            file.write((b",\n" if number > 1 else b"\n") + jsonl.dumps(annotation))


def _columns(places: array[int], length: int, spool: Spool) -> dict[str, list[Any]]:
    """A track over all frames of its video, None where it is not there."""
    names = ("segmentations", "areas", "bboxes", "scores", "category_ids", "predicted")
    columns: dict[str, list[Any]] = {name: [None] * length for name in names}
    for frame, at, size in zip(places[::3], places[1::3], places[2::3], strict=True):
        row = json.loads(spool.read(at, size))
        x1, y1, x2, y2 = row["box"]
        columns["segmentations"][frame] = row["mask"]
        columns["areas"][frame] = row["area"]
        columns["bboxes"][frame] = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
        columns["scores"][frame] = row["score"]
        columns["category_ids"][frame] = row["class_id"]
        columns["predicted"][frame] = row.get("predicted")
    if len({c for c in columns["category_ids"] if c is not None}) == 1:
        del columns["category_ids"]
    if not any(columns["predicted"]):
        del columns["predicted"]
    return columns


def _video(number: int, video: _Video) -> dict[str, Any]:
    columns = dict(zip(_PER_FRAME, map(list, zip(*video.frames, strict=True)), strict=True))
    return {
        "id": number,
        "width": video.width,
        "height": video.height,
        "length": len(video.frames),
        "file_names": video.names,
        KEPT: {**video.kept, "frames": columns},
    }


def read(path: Path, assumed: Assumed) -> Iterator[FrameResult]:
    """Yield the frames of a data set, one video behind the other; crowds are left out."""
    with understood(path, "a YouTube-VIS data set"):
        with open_regular(path) as file:
            data = json.load(file)
        names = {int(c["id"]): str(c["name"]) for c in data["categories"]}
        tracks: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for number, annotation in enumerate(data["annotations"] or (), 1):
            if annotation.get("iscrowd"):
                assumed.left_out["crowds"] += 1
            else:
                tracks[int(annotation["video_id"])].append({"track_id": number, **annotation})
        begin = 0
        for video in data["videos"]:
            of_video = tracks.pop(int(video["id"]), [])
            for frame in range(length := int(video["length"])):
                head = _head(video, frame, begin, assumed)
                found = (_row(a, frame, video, names, assumed) for a in of_video)
                yield result_of(head, [row for row in found if row is not None])
            begin += length
        if tracks:
            raise ValueError(f"annotations of a video that is not there: {min(tracks)}")


def _head(video: Mapping[str, Any], frame: int, begin: int, assumed: Assumed) -> dict[str, Any]:
    size = int(video["height"]), int(video["width"])
    kept = video.get(KEPT)
    if not isinstance(kept, Mapping):
        # another's frames count through: names of pictures are per video there, and no frame index
        return assumed.head(begin + frame, size)
    columns = kept["frames"]
    own = {name: columns[name][frame] for name in _PER_FRAME}
    optional = {k: v for k, v in own.items() if v is not None or k == "captured_at"}
    fixed = {k: v for k, v in kept.items() if k != "frames"}
    return assumed.head(begin + frame, size, kept=_ordered({**fixed, **optional}))


def _ordered(kept: dict[str, Any]) -> dict[str, Any]:
    """`model` stands behind what belongs to the frame."""
    return {**{k: v for k, v in kept.items() if k != "model"}, "model": kept["model"]}


def _row(
    annotation: Mapping[str, Any],
    frame: int,
    video: Mapping[str, Any],
    names: Mapping[int, str],
    assumed: Assumed,
) -> dict[str, Any] | None:
    size = int(video["height"]), int(video["width"])
    mask = rle_of_segmentation(annotation["segmentations"][frame], size)
    if mask is None:
        return None
    classes = annotation.get("category_ids") or [annotation["category_id"]] * (frame + 1)
    class_id = int(classes[frame])
    if class_id not in names:
        raise ValueError(
            f"category {class_id} of annotation {annotation.get('id')} is not declared"
        )
    scores, boxes = annotation.get("scores"), annotation.get("bboxes")
    return {
        "track": annotation["track_id"],
        "class_id": class_id,
        "mask": mask,
        "label": assumed.label(class_id, names[class_id]),
        "score": 1.0 if scores is None else scores[frame],
        "box": corners(boxes[frame] if boxes else None),
        "predicted": bool((annotation.get("predicted") or [False] * (frame + 1))[frame]),
    }
