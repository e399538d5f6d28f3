"""Which categories a model of transformers finds, and the class ids of their records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ModelError
from pipeline.models.shared.labels import COCO_LABELS

_CITYSCAPES, _ADE, _COCO_PANOPTIC = 19, 150, 133
_ADE_THINGS = (
    7, 8, 10, 12, 14, 15, 18, 19, 20, 22, 23, 24, 27, 30, 31, 32, 33, 35, 36, 37, 38, 39, 41, 42,
    43, 44, 45, 47, 49, 50, 53, 55, 56, 57, 58, 62, 64, 65, 66, 67, 69, 70, 71, 72, 73, 74, 75, 76,
    78, 80, 81, 82, 83, 85, 86, 87, 88, 89, 90, 92, 93, 95, 97, 98, 102, 103, 104, 107, 108, 110,
    111, 112, 115, 116, 118, 119, 120, 121, 123, 124, 125, 126, 127, 129, 130, 132, 133, 134, 135,
    136, 137, 138, 139, 142, 143, 144, 146, 147, 148, 149,
)  # fmt: skip
_THINGS = {
    _CITYSCAPES: tuple(range(11, 19)),
    _COCO_PANOPTIC: tuple(range(80)),
    _ADE: _ADE_THINGS,
}
"""Rows of the class head that are things, of data sets that also have stuff."""
_NO_NAMES = {"N/A", "background"}


@dataclass(frozen=True, slots=True)
class Classes:
    """What the rows of a class head stand for."""

    ids: Mapping[int, int]
    """Class id of the records by row; rows that are not in it are no things, or have no name."""
    labels: Mapping[int, str]
    """Names by class id."""


def classes_of(config: Mapping[str, Any], origin: str) -> Classes:
    """Of `id2label` in a config.json.

    The 80 names of COCO get COCO's own ids, in which there are gaps. Any other row keeps its
    number, or one more where row 0 is a category, because 0 is nobody's id in records.

    Raises:
        ModelError: `id2label` is no table of names by number.
    """
    found = config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
    try:
        names = {int(row): str(name) for row, name in found.items()}
    except (AttributeError, ValueError) as error:
        raise ModelError(
            f"weights {origin}: config.json: id2label must be names by number, got "
            f"{str(found)[:60]}"
        ) from error
    things = _THINGS.get(len(names), tuple(names))
    named = {row: names[row] for row in things if names.get(row, "N/A") not in _NO_NAMES}
    if not named:
        raise ModelError(f"weights {origin}: config.json: id2label names no category")
    if [_plain(name) for _, name in sorted(named.items())] == list(COCO_LABELS.values()):
        ids = dict(zip(sorted(named), COCO_LABELS, strict=True))
        return Classes(ids, COCO_LABELS)
    shift = int(min(named) == 0)
    return Classes(
        {row: row + shift for row in named}, {row + shift: name for row, name in named.items()}
    )


def _plain(name: str) -> str:
    """As COCO writes it: some configurations have `traffic-light`, some older words."""
    text = name.replace("-", " ").replace("_", " ").lower()
    text = text.removesuffix(" merged").removesuffix(" other")
    return _OLDER.get(text, text)


_OLDER = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
    "hair dryer": "hair drier",
}
