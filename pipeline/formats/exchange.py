"""Which formats records are exported to, and which are read back; each is one file beside this.

A row says in one line what its format cannot hold. Writers take results as they come and hold none
of them; what a file of others does not say is `Assumed`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.catalogue import Catalogue, Entry, hint
from pipeline.errors import SourceError
from pipeline.formats import jsonl
from pipeline.masks import Masks
from pipeline.results import FrameResult

KEPT = "maskstream"
"""The key under which JSON formats keep what they have no place for; other readers ignore it."""
_IMPORTED = "imported"
_OF_A_FRAME = re.compile(r"(?:.*/)?(?:(\d{8})\.(?:jpg|png)|frame_(\d{6,})(?:\.\w+)?)")
"""Names of pictures made of a video: those of the sink `frames:`, and CVAT's."""
_MOST_PIXELS = 1 << 27


class Write(Protocol):
    """The writer of a format."""

    def __call__(self, part: Path, results: Iterable[FrameResult]) -> None:
        """Write all results, which come in the order of their frames, to a new file (or folder)."""


class Read(Protocol):
    """The reader of a format."""

    def __call__(self, path: Path, assumed: Assumed) -> Iterator[FrameResult]:
        """Yield the results in a file in the order of their frames.

        Raises:
            SourceError: it cannot be read, or is damaged; names the file and the place.
        """


@dataclass(frozen=True, slots=True)
class Exchange(Entry):
    """A format; what it `opens` is its `Write`."""

    suffix: str
    """Of a file written without a name of its own, `run` + suffix."""
    lacks: str
    """What it cannot hold, as it is said to the user; empty: it holds all that records have."""
    reads: str | None = field(default=None, kw_only=True)
    """`module:function` of its `Read`."""
    folder: bool = field(default=False, kw_only=True)
    tracked: bool = field(default=False, kw_only=True)
    """It has no place for an instance without a track id."""

    def writer(self) -> Write:
        """The function that writes it."""
        write: Write = self.load()
        return write

    def reader(self) -> Read:
        """The function that reads it back; only where `reads` is set."""
        module, _, name = str(self.reads).partition(":")
        read: Read = getattr(import_module(module), name)
        return read


def _row(name: str, module: str, summary: str, suffix: str, lacks: str, **more: Any) -> Exchange:
    at = f"pipeline.formats.{module}"
    if more.pop("back", False):
        more["reads"] = f"{at}:read"
    return Exchange(name, f"{at}:write", summary, suffix, lacks, **more)


EXCHANGES = Catalogue(
    "format",
    "maskstream.formats",
    [
        _row(
            "coco",
            "coco",
            "COCO data set: images, annotations, categories",
            ".coco.json",
            "keypoints; other tools drop scores, track ids and times when they save it",
            back=True,
        ),
        _row(
            "mots",
            "mots",
            "MOTS text",
            ".mots.txt",
            "shared pixels (the higher score keeps them), scores, boxes, times, names of classes",
            back=True,
            tracked=True,
        ),
        _row(
            "ytvis",
            "ytvis",
            "YouTube-VIS data set: videos and their tracks",
            ".ytvis.json",
            "keypoints; other tools drop scores, track ids and times when they save it",
            back=True,
            tracked=True,
        ),
        _row(
            "labelstudio",
            "labelstudio",
            "tasks of Label Studio, brush masks",
            ".ls.json",
            "boxes beside the masks' own, keypoints; scores of what is corrected there",
            back=True,
        ),
        _row(
            "cvat",
            "cvat",
            "CVAT for images 1.1, masks",
            ".cvat.xml",
            "boxes beside the masks' own, keypoints, empty masks, times",
            back=True,
        ),
        _row(
            "yolo",
            "yolo",
            "YOLO segmentation labels, a folder",
            ".yolo",
            "holes (filled), track ids, scores, boxes, times, single pixels",
            folder=True,
        ),
        _row(
            "csv",
            "csv_table",
            "a row an instance",
            ".csv",
            "frames without instances, keypoints",
        ),
        _row(
            "supervision-json",
            "supervision_json",
            "rows of supervision",
            ".supervision.json",
            "frames without instances, keypoints, what is said of the run",
        ),
        _row(
            "parquet",
            "parquet",
            "Parquet, a row a frame",
            ".parquet",
            "",
            back=True,
        ),
    ],
)
"""All formats; installed packages offer more rows in entry points of this group."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is taken where a file of others does not say it."""

    source_id: str
    fps: float | None = None
    """Frames a second, where there are no times."""
    labels: Mapping[int, str] | None = None
    """Names by class id; None: as the file has them."""
    left_out: Counter[str] = field(default_factory=Counter)
    """What was not taken over, by what it was; counted by the reader."""

    def head(
        self, frame: int, size: tuple[int, int], *, kept: object = None, file: str | None = None
    ) -> dict[str, Any]:
        """The record of a frame, still without its instances.

        Args:
            frame: its index, where none was kept.
            size: (height, width).
            kept: what our own writer left in the file; None: another's file.
            file: name of the picture.

        Raises:
            ValueError: the size is impossible, or nothing says when the frame was.
        """
        height, width = size
        if not (height > 0 and width > 0 and height * width <= _MOST_PIXELS):
            raise ValueError(f"frame {frame}: a picture of {width} x {height} pixels")
        if isinstance(kept, Mapping):
            return {**kept, "width": width, "height": height}
        if self.fps is None:
            raise ValueError("it has no times of its own; give its frames a second, --fps")
        found, name = frame_of(file, frame)
        named = {} if name is None else {"file": name}
        return {
            "schema": jsonl.FRAME_SCHEMA,
            "run": _IMPORTED,
            "source": self.source_id,
            "epoch": 0,
            "frame": found,
            "pts_s": found / self.fps,
            "captured_at": None,
            **named,
            "width": width,
            "height": height,
            "model": _IMPORTED,
        }

    def label(self, class_id: int, written: object = None) -> str:
        """What a class is called."""
        names = self.labels or {}
        return names.get(class_id, f"class {class_id}" if written is None else str(written))


class ClassNumbers:
    """Class ids of a file that has only names.

    Args:
        assumed: if it has labels, there are no others.
        known: names whose ids the file tells after all.
    """

    def __init__(self, assumed: Assumed, known: Mapping[str, int] | None = None) -> None:
        given = assumed.labels
        self._closed = given is not None
        self._ids = dict(known or {}) if given is None else {n: i for i, n in given.items()}

    def id_of(self, name: str) -> int:
        """The id of a class; one nobody has named yet gets the next.

        Raises:
            ValueError: it is not among the labels that were given.
        """
        if name not in self._ids:
            if self._closed:
                raise ValueError(
                    f"label {name!r} is not among --labels{hint(name, self._ids)}: "
                    f"{', '.join(self._ids)}"
                )
            self._ids[name] = max(self._ids.values(), default=0) + 1
        return self._ids[name]


def kept_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What of a record a format keeps under `KEPT`: all that is said of the frame but its size."""
    return {k: v for k, v in record.items() if k not in ("width", "height", "instances")}


def picture_name(record: Mapping[str, Any]) -> str:
    """What the picture of a frame is called; pictures of videos as the sink `frames:` does."""
    return str(record.get("file") or f"{record['frame']:08d}.jpg")


def frame_of(name: str | None, frame: int) -> tuple[int, str | None]:
    """Frame index and file name, None for a video, of a picture called `name`; else `frame`."""
    match = _OF_A_FRAME.fullmatch(name or "")
    return (frame, name or None) if match is None else (int(match[1] or match[2]), None)


def result_of(head: Mapping[str, Any], rows: list[dict[str, Any]]) -> FrameResult:
    """The result of a frame; a row without a box gets its mask's.

    Raises:
        ValueError: a field is missing or wrong.
    """
    bare = [i for i, row in enumerate(rows) if row.get("box") is None]
    for i in bare:
        rows[i]["box"] = [0, 0, 0, 0]
    result = jsonl.parse_record({**head, "instances": rows})
    if not bare:
        return result
    boxes = result.instances.boxes.copy()
    boxes[bare] = result.instances.masks[bare].boxes().astype(np.float32)
    return replace(result, instances=replace(result.instances, boxes=boxes))


def with_tracks(rows: list[dict[str, Any]], fresh: Iterator[int] | None) -> list[dict[str, Any]]:
    """The rows, those that somebody drew beside tracked ones with track ids of their own.

    Args:
        rows: `track` is None for those.
        fresh: ids nobody has; None where nothing in the file is tracked.
    """
    if fresh is None:
        return rows
    return [row if row["track"] is not None else {**row, "track": next(fresh)} for row in rows]


def rle_of(mask: Masks) -> dict[str, Any]:
    """The one mask as a record has it."""
    (rle,) = mask.to_coco()
    return rle


@contextmanager
def understood(path: Path, what: str) -> Iterator[None]:
    """Whatever is wrong with a file becomes one line that names it.

    Raises:
        SourceError: it cannot be read, or is not `what` it should be.
    """
    try:
        yield
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise SourceError(f"{path}: not {what}: {error} is missing") from error
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise SourceError(f"{path}: not {what}: {str(error)[:300]}") from error
