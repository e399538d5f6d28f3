"""Weights files as bytes plus what is known about them, without torch.

A driver reads and verifies a file once and ships the bytes; workers never touch its disk. Labels
stand in the file's own metadata (safetensors) or beside it (`<file>.labels.json`).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError
from pipeline.models.coco import COCO_CLASSES, COCO_LABELS

DEMO_FILE = Path(__file__).parent / "weights_demo" / "demo.safetensors"
_MAX_HEADER_BYTES = 100_000_000


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


def read_weights(origin: str) -> WeightsFile:
    """Read `demo` or a path.

    Raises:
        ModelError: it cannot be read, or what stands beside it cannot be understood.
    """
    path = DEMO_FILE if origin == "demo" else Path(origin).expanduser()
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        hint = "this installation lacks it" if origin == "demo" else "check the path"
        raise ModelError(f"weights {origin}: no such file; {hint}") from error
    except OSError as error:
        raise ModelError(f"weights {origin}: cannot read it: {error.strerror}") from error
    return from_bytes(data, origin, _labels_beside(path, origin))


def from_bytes(data: bytes, origin: str, labels: Mapping[int, str] | None = None) -> WeightsFile:
    """Weights that were read elsewhere; `labels` beside the file win over those inside.

    Raises:
        ModelError: the file is empty, or a safetensors header cannot be read.
    """
    if not data:
        raise ModelError(f"weights {origin}: the file is empty")
    settings: dict[str, str] = {}
    if is_safetensors(data):
        settings = dict(safetensors_header(data, origin).get("__metadata__") or {})
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
        ModelError: it is cut off or no JSON.
    """
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(len(data) - 8, _MAX_HEADER_BYTES):
        raise ModelError(f"weights {origin}: the safetensors header is cut off; fetch it again")
    try:
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
    except ValueError as error:
        raise ModelError(f"weights {origin}: the safetensors header is no JSON") from error
    return header


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
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelError(f"{where}: cannot be read as labels; {expected}") from error
    if not labels or not all(isinstance(name, str) and name for name in labels.values()):
        raise ModelError(f"{where}: every label must be a non-empty text; {expected}")
    return dict(sorted(labels.items()))


def labels_for(file: WeightsFile, num_classes: int) -> Mapping[int, str]:
    """The labels of a file whose class head has `num_classes` rows, background included.

    Without stored labels, 91 rows are COCO's and any other number gets `class_1`, `class_2`, ...

    Raises:
        ModelError: the stored labels are too few, too many or outside 1..num_classes-1.
    """
    if file.labels is None:
        if num_classes == COCO_CLASSES:
            return COCO_LABELS
        return {i: f"class_{i}" for i in range(1, num_classes)}
    known_gaps = num_classes == COCO_CLASSES and set(file.labels) == set(COCO_LABELS)
    if set(file.labels) != set(range(1, num_classes)) and not known_gaps:
        raise ModelError(
            f"weights {file.origin}: {len(file.labels)} labels for ids "
            f"{min(file.labels)}..{max(file.labels)}, but the class head has {num_classes - 1} "
            f"classes (ids 1..{num_classes - 1}); give one label for each"
        )
    return file.labels


def _labels_beside(path: Path, origin: str) -> dict[int, str] | None:
    beside = path.with_name(path.name + ".labels.json")
    try:
        text = beside.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"weights {origin}: cannot read {beside.name}: {error}") from error
    return parse_labels(text, f"weights {origin}: {beside.name}")
