"""COCO files: pycocotools reads them, judges them, and finds what was put in."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.errors import SourceError
from pipeline.formats import coco
from pipeline.formats.exchange import Assumed
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.results import FrameResult

SIZE = (60, 80)
LABELS = {1: "person", 3: "car"}


def square(x: int, y: int, side: int, class_id: int, score: float = 0.9) -> Instances:
    dense = np.zeros((1, *SIZE), bool)
    dense[0, y : y + side, x : x + side] = True
    return Instances(
        np.array([[x, y, x + side, y + side]], np.float32),
        np.array([score], np.float32),
        np.array([class_id]),
        Masks.from_dense(dense),
        track_ids=np.array([class_id * 10]),
    )


def result(index: int, instances: Instances) -> FrameResult:
    return FrameResult(
        run="r", source_id="a", epoch=0, index=index, pts_s=index / 25, captured_at_s=None,
        clock=None, size=SIZE, model="m", instances=instances, labels=LABELS,
    )  # fmt: skip


def test_a_result_row_has_exactly_the_five_keys_of_the_format() -> None:
    found = square(10, 20, 30, 3, score=1 / 3)
    pixels = np.asfortranarray(found.masks.dense()[0].astype(np.uint8))
    assert coco.result_rows(result(7, found)) == [
        {
            "image_id": 7,
            "category_id": 3,
            "segmentation": {
                "size": [60, 80],
                "counts": coco_mask.encode(pixels)["counts"].decode(),
            },
            "score": 0.3333,
            "bbox": [10.0, 20.0, 30.0, 30.0],
        }
    ]


def test_rows_of_a_frame_are_joined_and_a_frame_without_instances_has_none() -> None:
    assert coco.dumps_rows(result(0, Instances.empty(SIZE))) == b""
    rows = coco.dumps_rows(result(7, square(10, 20, 30, 3)[[0, 0]]))
    assert [row["image_id"] for row in json.loads(b"[" + rows + b"]")] == [7, 7]


def test_pycocotools_finds_perfect_results_perfect_and_counts_a_missing_frame(
    tmp_path: Path,
) -> None:
    truths = [square(5, 5, 40, 3), Instances.empty(SIZE), square(20, 10, 35, 1)]
    coco.write(tmp_path / "gt.json", (result(i, t) for i, t in enumerate(truths)))
    rows = [row for i, t in enumerate(truths) for row in coco.result_rows(result(i, t))]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "gt.json"))

        def ap(found: list[dict[str, object]]) -> float:
            evaluation = COCOeval(truth, truth.loadRes(found), "segm")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            return float(evaluation.stats[0])

        assert ap(rows) == pytest.approx(1.0)
        assert ap(rows[:1]) == pytest.approx(0.5)  # one of two classes is found


def test_a_data_set_keeps_negatives_tracks_labels_and_counts_annotations_from_one(
    tmp_path: Path,
) -> None:
    frames = [result(0, Instances.empty(SIZE)), result(1, square(5, 5, 40, 3))]
    coco.write(tmp_path / "gt.json", frames)
    content = json.loads((tmp_path / "gt.json").read_text())
    assert [image["id"] for image in content["images"]] == [0, 1]
    image = content["images"][0]
    assert (image["width"], image["height"], image["file_name"]) == (80, 60, "00000000.jpg")
    assert content["categories"] == [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
    (row,) = content["annotations"]
    assert (row["id"], row["image_id"], row["area"], row["iscrowd"]) == (1, 1, 1600, 0)
    assert (row["bbox"], row["track_id"]) == ([5.0, 5.0, 40.0, 40.0], 30)


def read(path: Path, fps: float | None = 25, **more: object) -> list[FrameResult]:
    return list(coco.read(path, Assumed("a", fps, **more)))  # type: ignore[arg-type]


def test_results_read_back_by_frame(tmp_path: Path) -> None:
    given = {2: square(5, 5, 40, 3), 9: square(20, 10, 35, 1)[[0, 0]]}
    rows = [row for i, t in given.items() for row in coco.result_rows(result(i, t))]
    (tmp_path / "r.json").write_text(json.dumps(rows))
    back = {r.index: r.instances for r in read(tmp_path / "r.json")}
    assert {i: len(found) for i, found in back.items()} == {2: 1, 9: 2}
    assert np.array_equal(back[9].boxes, given[9].boxes)
    assert np.array_equal(back[9].masks.dense(), given[9].masks.dense())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
def test_outlines_are_filled_as_pycocotools_does_and_crowds_and_boxes_are_counted(
    tmp_path: Path,
) -> None:
    outline = [10.0, 10.0, 30.5, 12.0, 20.0, 40.25]
    one = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": [outline]}
    crowd = one | {"id": 2, "iscrowd": 1, "segmentation": {"size": [60, 80], "counts": [4800]}}
    box = one | {"id": 3, "segmentation": [], "bbox": [1, 2, 3, 4]}
    content = {
        "images": [{"id": 7, "width": 80, "height": 60, "file_name": "b/c.png"}],
        "annotations": [one, crowd, box],
        "categories": [{"id": 3, "name": "car"}],
    }
    (tmp_path / "d.json").write_text(json.dumps(content))
    assumed = Assumed("a", 10.0)
    (frame,) = coco.read(tmp_path / "d.json", assumed)
    expected = coco_mask.decode(coco_mask.frPyObjects([outline], 60, 80))[..., 0]
    assert np.array_equal(frame.instances.masks.dense()[0], expected.astype(bool))
    assert (frame.index, frame.file, frame.pts_s, frame.labels) == (7, "b/c.png", 0.7, {3: "car"})
    assert frame.instances.track_ids is None
    assert assumed.left_out == {"crowds": 1, "boxes without a mask": 1}


@pytest.mark.parametrize(
    "text",
    ["", "{}x", '{"images": []}', '[{"image_id": 1}]', "[1]", "[" * 100_000],
    ids=["empty", "rest", "no-annotations", "no-mask", "number", "deep"],
)
def test_what_is_no_coco_file_is_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(SourceError, match=r"r\.json: not a COCO data set or results file: [^\n]*$"):
        read(tmp_path / "r.json")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
def test_the_annotations_of_a_real_data_set_are_those_pycocotools_finds(
    tmp_path: Path, shared_data: Path
) -> None:
    path = shared_data / "coco-train" / "instances.json"
    assumed = Assumed("a", 1.0)
    found = {r.index: r for r in coco.read(path, assumed)}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
    assert len(found) == 130
    assert sum(len(r.instances) for r in found.values()) == 1209 - 13
    assert assumed.left_out["crowds"] == 13
    for image_id in sorted(found)[:20]:
        rows = [row for row in truth.imgToAnns[image_id] if not row["iscrowd"]]
        for row, mask in zip(rows, found[image_id].instances.masks.dense(), strict=True):
            assert np.array_equal(mask, truth.annToMask(row).astype(bool))
