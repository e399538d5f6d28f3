"""CVAT's XML 1.1: written as "for images", where masks have a place; read as that and "for video".

CVAT takes masks as shapes of single frames, not as tracks, so track, class id and score are
attributes of the shape, `track`, `class_id` and `score`; CVAT keeps those its task has declared.
The runs of a mask go row by row through its box. Images are read one at a time; the tracks of a
video are in memory, for each holds frames from all over it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from pipeline.formats import jsonl
from pipeline.formats.exchange import (
    Assumed,
    ClassNumbers,
    picture_name,
    result_of,
    rle_of,
    understood,
    with_tracks,
)
from pipeline.formats.polygons import filled
from pipeline.formats.whole import Spool
from pipeline.formats.xml_events import Element, elements
from pipeline.masks import Masks
from pipeline.plain import plain
from pipeline.results import FrameResult

_SHAPES = ("box", "mask", "polygon", "polyline", "points", "cuboid", "ellipse", "skeleton", "tag")
_WITH_MASK = ("mask", "polygon")
_OURS = ("track", "class_id", "score")


def write(part: Path, results: Iterable[FrameResult]) -> None:
    """Write every frame as an image; the labels, which stand first, are known at the end."""
    labels: dict[int, str] = {}
    frames = 0
    with part.open("wb") as file, Spool(part) as images:
        for result in results:
            record = jsonl.record(result)
            images.add("".join(_image(record, result.instances.masks)).encode())
            labels.update(result.labels)
            frames += 1
        file.write("".join(_meta(labels, frames)).encode())
        images.copy_to(file)
        file.write(b"</annotations>\n")


def _meta(labels: Mapping[int, str], frames: int) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
    yield f"<meta><task><name>maskstream</name><size>{frames}</size><mode>annotation</mode>\n"
    yield "<labels>\n"
    own = "".join(
        f"<attribute><name>{name}</name><mutable>True</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>"
        for name in _OURS
    )
    for _, label in sorted(labels.items()):
        yield f"<label><name>{escape(plain(label))}</name><type>any</type>"
        yield f"<attributes>{own}</attributes></label>\n"
    yield "</labels></task></meta>\n"


def _image(record: Mapping[str, Any], masks: Masks) -> Iterator[str]:
    name = quoteattr(plain(picture_name(record)))
    size = f'width="{record["width"]}" height="{record["height"]}"'
    yield f'<image id="{record["frame"]}" name={name} {size}>\n'
    for row, (x, y, mask) in zip(record["instances"], masks.crops(), strict=True):
        if not mask.size:
            continue
        flat = mask.reshape(-1)
        borders = np.flatnonzero(np.diff(flat, prepend=np.False_)).tolist()
        counts = np.diff([0, *borders, flat.size]).tolist()
        yield f'<mask label={quoteattr(plain(row["label"]))} source="auto" occluded="0" '
        yield f'rle="{", ".join(map(str, counts))}" left="{x}" top="{y}" '
        yield f'width="{mask.shape[1]}" height="{mask.shape[0]}" z_order="0">'
        for key in _OURS:
            if row[key] is not None:
                yield f'<attribute name="{key}">{row[key]}</attribute>'
        yield "</mask>\n"
    yield "</image>\n"


def read(path: Path, assumed: Assumed) -> Iterator[FrameResult]:
    """Yield the frames of either kind of file; it is read twice, for the ids that are taken.

    Masks and polygons count; other shapes are left out and counted, and so are hidden ones.
    """
    with understood(path, "CVAT's XML 1.1"):
        known, last, video = _taken(path)
        numbers = ClassNumbers(assumed, known)
        fresh = count(last + 1) if last >= 0 else None
        frames = _of_tracks(path, video) if video else _of_images(path)
        for image, shapes in frames:
            size = int(image["height"]), int(image["width"])
            head = assumed.head(int(image["id"]), size, file=image.get("name"))
            found = [_row(shape, size, numbers, assumed) for shape in shapes]
            rows = with_tracks([row for row in found if row is not None], fresh)
            yield result_of(head, rows)


_Shape = tuple[Element, dict[str, str]]
"""A shape, and its attributes by name, `label` and, in a video, `track` among them."""


def _taken(path: Path) -> tuple[dict[str, int], int, dict[str, str]]:
    """Class ids by label, the highest track id, and the size of the video, empty for images."""
    declared: list[str] = []
    ids: dict[str, int] = {}
    last = -1
    sizes: dict[str, str] = {}
    tracks = roots = 0
    inside: list[str] = []
    for element in elements(path):
        if not element.ended:
            inside.append(element.name)
            roots += element.name == "annotations"
            continue
        inside.pop()
        if element.name == "name" and inside[-1:] == ["label"]:
            declared.append(element.text)
        elif inside[-1:] == ["original_size"]:
            sizes[element.name] = element.text
        elif element.name == "track":
            tracks += 1
            last = max(last, int(element.attributes["id"]))
    if not roots:
        raise ValueError("it has no element <annotations>")
    for _, shapes in _of_images(path):
        for element, more in shapes:
            label = element.attributes.get("label", "")
            if element.name in _WITH_MASK and label and declared and label not in declared:
                raise ValueError(f"label {label!r} is not declared in its <labels>")
            if more.get("class_id", "").isdecimal():
                ids[label] = int(more["class_id"])
            if more.get("track", "").isdecimal():
                last = max(last, int(more["track"]))
    if tracks and not sizes:
        raise ValueError("it has tracks, and no <original_size> says how large the pictures are")
    named = ids or {name: number for number, name in enumerate(dict.fromkeys(declared), 1)}
    return named, last, sizes if tracks else {}


def _of_images(path: Path) -> Iterator[tuple[dict[str, str], list[_Shape]]]:
    """The attributes and shapes of every `<image>`."""
    image: dict[str, str] | None = None
    shapes: list[_Shape] = []
    more: dict[str, str] = {}
    for element in elements(path):
        if element.name == "image" and not element.ended:
            image, shapes = element.attributes, []
        elif image is None or not element.ended:
            continue
        elif element.name == "attribute":
            more[element.attributes.get("name", "")] = element.text
        elif element.name in _SHAPES:
            shapes.append((element, more))
            more = {}
        elif element.name == "image":
            yield image, shapes
            image = None


def _of_tracks(
    path: Path, size: Mapping[str, str]
) -> Iterator[tuple[dict[str, str], list[_Shape]]]:
    """The same of every frame in which a `<track>` is seen, in order."""
    frames: dict[int, list[_Shape]] = defaultdict(list)
    track: dict[str, str] | None = None
    for element in elements(path):
        if element.name == "track":
            track = None if element.ended else element.attributes
        elif track is not None and element.ended and element.name in _SHAPES:
            if element.attributes.get("outside") == "1":
                continue
            own = {"label": track.get("label", ""), "track": track["id"]}
            frames[int(element.attributes["frame"])].append((element, own))
    for number in sorted(frames):
        yield {"id": str(number), **size}, frames[number]


def _row(
    shape: _Shape, size: tuple[int, int], numbers: ClassNumbers, assumed: Assumed
) -> dict[str, Any] | None:
    element, more = shape
    label = more.get("label") or element.attributes.get("label", "")
    if element.name in _WITH_MASK and not label:
        assumed.left_out["shapes without a label"] += 1
        return None
    if element.name == "mask":
        mask = _mask(element.attributes, size)
    elif element.name == "polygon":
        points = element.attributes["points"].replace(";", ",").split(",")
        mask = filled([[float(value) for value in points]], size)
    else:
        assumed.left_out[f"shapes of type {element.name}"] += 1
        return None
    track = more.get("track", "")
    return {
        "track": int(track) if track.isdecimal() else None,
        "label": label,
        "class_id": numbers.id_of(label),
        "box": None,
        "mask": mask,
        "score": float(more.get("score") or 1.0),
    }


def _mask(attributes: Mapping[str, str], size: tuple[int, int]) -> dict[str, Any]:
    left, top, width, height = (int(attributes[k]) for k in ("left", "top", "width", "height"))
    if not (0 <= left < left + width <= size[1] and 0 <= top < top + height <= size[0]):
        raise ValueError(f"a mask at {left}, {top} of {width} x {height} leaves its picture")
    counts = np.array([int(text) for text in attributes["rle"].split(",")], np.int64)
    if (counts < 0).any() or counts.max() > width * height or counts.sum() != width * height:
        raise ValueError(f"the runs of a mask do not fill its {width} x {height} pixels")
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    return rle_of(Masks.from_crops(size, [(left, top, values)]))
