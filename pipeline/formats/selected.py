"""Records with less in them, or with masks in another form, as a sink's URL asks for.

What tells one frame from another is in every record. One that is not whole has a schema of its own,
so that nobody who reads whole ones takes it for one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.arrays import Ints
from pipeline.formats import jsonl
from pipeline.masks import Masks
from pipeline.results import FrameResult

OF_FRAMES = ("pts_s", "captured_at", "clock", "file", "width", "height", "model")
OF_INSTANCES = (
    *("track", "label", "class_id", "score", "box", "area", "mask", "predicted", "keypoints"),
)
MASKS = ("rle", "polygon", "none")

MaskForm = Literal["rle", "polygon", "none"]
ALWAYS = ("schema", "run", "source", "epoch", "frame")


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a result becomes its record; by default all, which is the public record."""

    fields: tuple[str, ...] | None = None
    """Keys of frames and instances; None: all of them."""
    mask: MaskForm = "rle"

    def record(self, result: FrameResult) -> dict[str, Any]:
        """The record, keys in their usual order."""
        if self == Selection():
            return jsonl.record(result)
        return less(jsonl.record(result, masks=self._masks(result.instances.masks)), self.keys)

    def dumps(self, result: FrameResult) -> bytes:
        """The record as one line of UTF-8 without its newline."""
        return jsonl.dumps(self.record(result))

    @property
    def keys(self) -> tuple[str, ...]:
        """Those of frames and of instances that are there, beside what always is."""
        known = (*OF_FRAMES, *OF_INSTANCES)
        names = known if self.fields is None else [name for name in known if name in self.fields]
        return tuple(name for name in names if name != "mask" or self.mask != "none")

    @property
    def columns(self) -> tuple[str, ...]:
        """The same as a table has them: outlines are in a column of their own."""
        outlines = self.mask == "polygon"
        return tuple("polygons" if outlines and key == "mask" else key for key in self.keys)

    def in_columns(self) -> Selection:
        """The same for a table, where no frame is without its time and no mask without its size."""
        if self.fields is None:
            return self
        more = ("pts_s", "width", "height") if "mask" in self.keys else ("pts_s",)
        return replace(self, fields=(*self.fields, *more))

    def _masks(self, masks: Masks) -> list[Any]:
        if "mask" not in self.keys:
            return [None] * len(masks)
        if self.mask == "rle":
            return masks.to_coco()
        size = list(masks.size)
        return [{"size": size, "polygons": _parts(masks, row)} for row in range(len(masks))]


def less(whole: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """A record with these keys of it, in their usual order."""
    of_instances = [key for key in OF_INSTANCES if key in keys]
    of_frames = [key for key in OF_FRAMES if key in keys]
    record = {key: whole[key] for key in (*ALWAYS, *of_frames) if key in whole}
    record["schema"] = jsonl.SELECTED_SCHEMA
    if of_instances:
        record["instances"] = [
            {key: row[key] for key in row if key in of_instances} for row in whole["instances"]
        ]
    return record


def _parts(masks: Masks, row: int) -> list[list[list[list[int]]]]:
    """Each part as its outer ring and its holes, as in GeoJSON's MultiPolygon but not closed."""
    return [[_ring(ring) for ring in (p.outer, *p.holes)] for p in masks.polygons(row)]


def _ring(corners: Ints) -> list[list[int]]:
    ring: list[list[int]] = corners.tolist()
    return ring
