"""Weights files as bytes plus what is known about them, without torch.

A driver reads and verifies a file once and ships the bytes; workers never touch its disk. Labels
stand in the file's own metadata (safetensors) or beside it (`<file>.labels.json`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import ModelError
from pipeline.models.shared.archive import OtherArchive, state_dict_parts
from pipeline.models.shared.labels import COCO_CLASSES, COCO_LABELS
from pipeline.models.shared.pth import EXPECTED
from pipeline.paths import expanded
from pipeline.reading import open_regular, read_small

MAX_BYTES = 2_000_000_000
"""The largest Mask R-CNN of torchvision has 430 MB, three times that with its optimiser's state."""
_MAX_HEADER_BYTES = 10_000_000
_MAX_LABELS_BYTES = 1_000_000
_HEAD_BYTES = 16
_ZIP, _PICKLE = b"PK", b"\x80"
_NONE = {
    b"version https://": "a pointer of Git LFS (git lfs pull fetches the file)",
    b"<": "a web page or XML",
    b"\x1f\x8b": "packed by gzip (unpack it)",
    b"\x89HDF": "HDF5",
    b"7z\xbc\xaf": "a 7z archive (unpack it)",
}
"""What is found in place of weights, by how it begins."""


@dataclass(frozen=True)
class WeightsFile:
    """The bytes of one weights file and what stands in or beside it; picklable."""

    origin: str
    """What the user wrote: `demo`, `COCO_V1` or a path; for messages."""
    data: bytes = field(repr=False)
    sha256: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """Metadata of a safetensors file, `labels` left out: `model`, `min_size`, ..."""
    labels: Mapping[int, str] | None = None
    """Names by class id as stored; None where nothing is stored."""

    @property
    def model(self) -> str | None:
        """The model the file says it belongs to."""
        return self.settings.get("model")


def read_weights(origin: str, bundled: Path | None = None) -> WeightsFile:
    """Read a file.

    Args:
        origin: what the user wrote: its path, or a word for it.
        bundled: the file a word stands for.

    Raises:
        ModelError: it cannot be read, or what stands beside it cannot be understood.
    """
    path = bundled or Path(expanded(origin))
    try:
        data = read_whole(path, origin)
    except FileNotFoundError as error:
        hint = "this installation lacks it" if bundled else "check the path"
        raise ModelError(f"weights {origin}: no such file; {hint}") from error
    except (OSError, ValueError) as error:  # the latter: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"weights {origin}: cannot read it: {reason}") from error
    return from_bytes(data, origin, labels_beside(path, origin))


def read_about(origin: str, bundled: Path | None = None) -> WeightsFile:
    """What a file says of itself: of safetensors the header alone is read, anything else whole.

    Raises:
        ModelError: see `read_weights`.
    """
    path = bundled or Path(expanded(origin))
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD_BYTES)
            if is_safetensors(head):
                (length,) = struct.unpack("<Q", head[:8])
                file.seek(0)
                header = file.read(8 + min(length, _MAX_HEADER_BYTES))
                return from_bytes(header, origin, labels_beside(path, origin))
    except (OSError, ValueError):
        pass  # reading it whole says what is wrong
    return read_weights(origin, bundled)


def read_whole(path: Path, origin: str) -> bytes:
    """The bytes of a file that looks like weights from its beginning, its end and its size.

    Raises:
        ModelError: it is no weights file, cut off, or too large; not more than its header is read.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_HEAD_BYTES)
        _check_head(head, origin)
        if size > MAX_BYTES:
            raise ModelError(f"weights {origin}: {size:,} bytes, more than {MAX_BYTES:,}")
        if is_safetensors(head):
            (length,) = struct.unpack("<Q", head[:8])
            file.seek(0)
            header = safetensors_header(file.read(8 + min(length, _MAX_HEADER_BYTES)), origin)
            _check_size(header, size - 8 - length, origin)
        if head.startswith(_ZIP):
            _check_zip(file, origin)
        file.seek(0)
        return file.read()


def _check_zip(file: BinaryIO, origin: str) -> None:
    """Refuse what is cut off, of something else, and what would be larger when it is read."""
    try:
        state_dict_parts(file)
    except OtherArchive as error:
        raise ModelError(f"weights {origin}: it is {error}; {EXPECTED}") from error
    except ValueError as error:
        raise ModelError(
            f"weights {origin}: the file is cut off or damaged; fetch it again"
        ) from error


def _check_head(head: bytes, origin: str) -> None:
    if not head:
        raise ModelError(f"weights {origin}: the file is empty")
    if not is_safetensors(head) and not head.startswith((_ZIP, _PICKLE)):
        is_what = next(
            (f" but {what}" for begin, what in _NONE.items() if head.startswith(begin)), ""
        )
        raise ModelError(f"weights {origin}: no weights file{is_what}; {EXPECTED}")


def _check_size(header: Mapping[str, Any], size: int, origin: str) -> None:
    """Refuse another size than the header says; one that cannot be read is left to its library."""
    ends = [entry.get("data_offsets") for entry in header.values() if isinstance(entry, dict)]
    told = [end[1] for end in ends if isinstance(end, list) and len(end) == 2]
    expected = max((end for end in told if isinstance(end, int)), default=size)
    if size != expected:
        raise ModelError(
            f"weights {origin}: the file is cut off or damaged: its tensors take {size:,} bytes, "
            f"its header says {expected:,}; fetch it again"
        )


def from_bytes(data: bytes, origin: str, labels: Mapping[int, str] | None = None) -> WeightsFile:
    """Weights that were read elsewhere; `labels` beside the file win over those inside.

    Raises:
        ModelError: it is no weights file, or a safetensors header cannot be read.
    """
    _check_head(data[:_HEAD_BYTES], origin)
    settings: dict[str, str] = {}
    if is_safetensors(data):
        settings = _metadata(safetensors_header(data, origin), origin)
        inside = settings.pop("labels", None)
        if labels is None and inside is not None:
            labels = parse_labels(inside, f"weights {origin}: metadata `labels`")
    return WeightsFile(origin, data, hashlib.sha256(data).hexdigest(), settings, labels)


def is_safetensors(data: bytes) -> bool:
    """Whether the bytes start like a safetensors file: a header length, then a JSON object."""
    return len(data) > 9 and data[8:9] == b"{"


def safetensors_header(data: bytes, origin: str) -> dict[str, Any]:
    """The header of a safetensors file: name to dtype, shape and offsets.

    Raises:
        ModelError: it is cut off, too long, or no JSON object.
    """
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(len(data) - 8, _MAX_HEADER_BYTES):
        raise ModelError(f"weights {origin}: the safetensors header is cut off; fetch it again")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:  # the latter: thousands of lists in one another
        raise ModelError(f"weights {origin}: the safetensors header is no JSON") from error
    if not isinstance(header, dict):
        raise ModelError(f"weights {origin}: the safetensors header is no JSON object")
    return header


def _metadata(header: Mapping[str, Any], origin: str) -> dict[str, str]:
    found = header.get("__metadata__") or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ModelError(f"weights {origin}: metadata must be texts by name, as safetensors has it")
    return dict(found)


def setting(file: WeightsFile, key: str, *, least: float, most: float) -> float | None:
    """A number in the metadata; None where there is none of that name.

    Raises:
        ModelError: it is no number from `least` to `most`.
    """
    text = file.settings.get(key)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:  # NaN is not either
        raise ModelError(
            f"weights {file.origin}: metadata {key}: must be a number from {least:g} to {most:g}, "
            f"got {text[:40]!r}"
        )
    return value


def parse_labels(text: str, where: str) -> dict[int, str]:
    """Labels from JSON: a list (ids from 1) or an object of id to name.

    Raises:
        ModelError: anything else.
    """
    expected = 'expected ["car", ...] (ids from 1) or {"1": "car", ...}'
    try:
        value = json.loads(text)
        if isinstance(value, list):
            value = {i: name for i, name in enumerate(value, start=1)}
        labels = {int(i): name for i, name in value.items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(f"{where}: cannot be read as labels; {expected}") from error
    if not labels or not all(isinstance(name, str) and name for name in labels.values()):
        raise ModelError(f"{where}: every label must be a non-empty text; {expected}")
    return dict(sorted(labels.items()))


def labels_by(
    rows: Callable[[WeightsFile], int],
) -> Callable[[WeightsFile | None], Mapping[int, str]]:
    """`Family.labels` where `rows(file)`, the background included, are COCO's if they are 81."""

    def labels(file: WeightsFile | None) -> Mapping[int, str]:
        return COCO_LABELS if file is None else labels_for(file, rows(file), len(COCO_LABELS) + 1)

    return labels


def labels_for(
    file: WeightsFile, num_classes: int, coco_classes: int = COCO_CLASSES
) -> Mapping[int, str]:
    """The labels of a file whose class head has `num_classes` rows, background included.

    Without stored labels, 91 rows (or what `coco_classes` says for a layout) are COCO's and any
    other number gets `class_1`, `class_2`, ...

    Raises:
        ModelError: the stored labels are too few, too many or outside 1..num_classes-1, or the head
            has no row but the background's, or more than the file has bytes.
    """
    if not 1 < num_classes <= len(file.data):
        raise ModelError(
            f"weights {file.origin}: a class head of {num_classes} rows in {len(file.data):,} "
            "bytes; the file is damaged, fetch it again"
        )
    if file.labels is None:
        if num_classes == coco_classes:
            return COCO_LABELS
        return {i: f"class_{i}" for i in range(1, num_classes)}
    known_gaps = num_classes == coco_classes and set(file.labels) == set(COCO_LABELS)
    if set(file.labels) != set(range(1, num_classes)) and not known_gaps:
        raise ModelError(
            f"weights {file.origin}: {len(file.labels)} labels for ids "
            f"{min(file.labels)}..{max(file.labels)}, but the class head has {num_classes - 1} "
            f"classes (ids 1..{num_classes - 1}); give one label for each"
        )
    return file.labels


def labels_beside(path: Path, origin: str) -> dict[int, str] | None:
    """Labels in `<file>.labels.json`; None where there is no such file.

    Raises:
        ModelError: it cannot be read.
    """
    beside = path.with_name(path.name + ".labels.json")
    try:
        text = read_small(beside, max_bytes=_MAX_LABELS_BYTES).decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ModelError(f"weights {origin}: cannot read {beside.name}: {reason}") from error
    return parse_labels(text, f"weights {origin}: {beside.name}")
