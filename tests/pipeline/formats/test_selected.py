"""Records with less in them, and masks in another form, judged by pycocotools and the schema."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.formats import jsonl
from pipeline.formats.selected import Selection
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.results import FrameResult

SCHEMA = Path(__file__).parents[3] / "docs" / "maskstream.selected.schema.json"
RING = np.ones((1, 6, 8), bool)
RING[0, 2:4, 3:5] = False  # a hole
RING[0, :, 6] = False  # and a second part


def result_of(dense: NDArray[np.bool_]) -> FrameResult:
    masks = Masks.from_dense(dense)
    n, (height, width) = len(masks), masks.size
    found = Instances(
        np.tile(np.array([0, 0, width, height], np.float32), (n, 1)),
        np.full(n, 0.5, np.float32),
        np.full(n, 3),
        masks,
        track_ids=np.arange(1, n + 1),
    )
    labels = {3: "car"}
    return FrameResult(
        "r", "gate", 0, 5, 0.2, None, None, (height, width), "blob", found, labels
    )  # fmt: skip


def read(result: FrameResult, **selection: Any) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Selection(**selection).dumps(result))
    jsonschema.validate(record, json.loads(SCHEMA.read_text()))
    return record


def filled(mask: dict[str, Any]) -> NDArray[np.bool_]:
    """The parts, disjoint; in each, a pixel is inside of an odd number of its rings."""
    size = (mask["size"][0], mask["size"][1])
    total = np.zeros(size, np.int64)
    for rings in mask["polygons"]:
        inside = np.zeros(size, bool)
        for ring in rings:
            for (x, y), (x_next, y_next) in pairwise([*ring, ring[0]]):
                inside[min(y, y_next) : max(y, y_next), x:] ^= x == x_next
        total += inside
    assert total.max(initial=0) <= 1
    return total.astype(bool)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
@settings(max_examples=60, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.just(2), st.integers(1, 9), st.integers(1, 9))))
def test_runs_and_outlines_give_back_every_pixel(dense: NDArray[np.bool_]) -> None:
    result = result_of(dense)
    runs = read(result, fields=("mask",))["instances"]
    outlines = read(result, mask="polygon")["instances"]
    for row, mask in enumerate(dense):
        assert np.array_equal(coco_mask.decode(runs[row]["mask"]), mask)
        assert np.array_equal(filled(outlines[row]["mask"]), mask)


def test_outlines_keep_holes_and_parts() -> None:
    (row,) = read(result_of(RING), mask="polygon")["instances"]
    assert [len(part) for part in row["mask"]["polygons"]] == [2, 1]
    assert row["mask"]["polygons"][1] == [[[7, 0], [8, 0], [8, 6], [7, 6]]]


def test_by_default_it_is_the_public_record_to_the_byte() -> None:
    result = result_of(RING)
    assert Selection().dumps(result) == jsonl.dumps(result)


@pytest.mark.parametrize(
    ("selection", "frame", "instance"),
    [
        ({"mask": "none"}, ["pts_s", "captured_at", "width", "height", "model", "instances"],
         ["track", "label", "class_id", "score", "box", "area"]),
        ({"fields": ("score", "pts_s", "box")}, ["pts_s", "instances"], ["score", "box"]),
        ({"fields": ("mask", "track"), "mask": "none"}, ["instances"], ["track"]),
        ({"fields": ("pts_s", "file")}, ["pts_s"], None),
    ],
)  # fmt: skip
def test_what_is_not_asked_for_is_not_there(
    selection: dict[str, Any], frame: list[str], instance: list[str] | None
) -> None:
    record = read(result_of(RING), **selection)
    assert list(record) == ["schema", "run", "source", "epoch", "frame", *frame]
    assert record["schema"] == "maskstream.selected/1"
    if instance is not None:
        assert list(record["instances"][0]) == instance
