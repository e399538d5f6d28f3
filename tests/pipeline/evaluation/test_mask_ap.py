"""Mask AP against a case worked out by hand, and against pycocotools fed by hand."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.evaluation.average_precision import SUMMARY, Pair, mask_ap
from pipeline.instances import Instances
from pipeline.masks import Masks

SIZE = (40, 60)


def instances(
    boxes: list[tuple[int, int, int, int]], classes: list[int], scores: list[float]
) -> Instances:
    dense = np.zeros((len(boxes), *SIZE), bool)
    for row, (x1, y1, x2, y2) in enumerate(boxes):
        dense[row, y1:y2, x1:x2] = True
    masks = Masks.from_dense(dense)
    return Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
        masks,
    )


def test_two_objects_one_found_after_a_false_alarm() -> None:
    # By score: a miss (0.9), then a perfect hit (0.8) of one of two objects. Precision is 1/2 up
    # to recall 1/2, that is at 51 of the 101 recalls, at every IoU.
    truth = instances([(0, 0, 10, 10), (20, 0, 30, 10)], [1, 1], [1, 1])
    found = instances([(40, 20, 50, 30), (0, 0, 10, 10)], [1, 1], [0.9, 0.8])
    result = mask_ap([Pair(truth, found)], {1: "car"})
    assert result.overall["AP"] == pytest.approx(0.5 * 51 / 101)
    assert result.by_class == {"car": pytest.approx(0.5 * 51 / 101)}
    assert (result.pictures, result.objects) == (1, 2)


def test_a_mask_of_78_of_100_pixels_passes_six_of_the_thresholds() -> None:
    # IoU 0.78: right at 0.5, 0.55, 0.6, 0.65, 0.7 and 0.75, six of ten.
    truth = instances([(0, 0, 10, 10)], [1], [1])
    dense = np.zeros((1, *SIZE), bool)
    dense[0, :7, :10] = True
    dense[0, 7, :8] = True
    whole = instances([(0, 0, 10, 8)], [1], [0.9])
    found = replace(whole, masks=Masks.from_dense(dense))
    result = mask_ap([Pair(truth, found)], {1: "car"})
    assert result.overall["AP"] == pytest.approx(0.6)
    assert result.overall["AP75"] == pytest.approx(1.0)


def test_classes_that_are_not_judged_do_not_count() -> None:
    truth = instances([(0, 0, 10, 10)], [1], [1])
    found = instances([(0, 0, 10, 10), (0, 0, 10, 10)], [7, 1], [0.99, 0.5])
    assert mask_ap([Pair(truth, found)], {1: "car"}).overall["AP"] == pytest.approx(1.0)


def test_nothing_to_judge_is_minus_one() -> None:
    nothing = Instances.empty(SIZE)
    assert mask_ap([Pair(nothing, nothing)], {1: "car"}).overall["AP"] == -1


def test_many_pictures_equal_pycocotools_used_directly() -> None:
    rng = np.random.default_rng(4)
    pairs = []
    for _ in range(12):
        n = int(rng.integers(0, 5))
        corners = rng.integers(0, 20, (n, 2))
        boxes = [(int(x), int(y), int(x) + 12, int(y) + 15) for x, y in corners]
        classes = rng.integers(1, 3, n).tolist()
        moved = [
            tuple(np.array(box) + np.tile(rng.integers(-3, 4, 2).clip(-min(box[:2])), 2))
            for box in boxes
        ]
        scores = rng.random(n).round(3).tolist()
        pairs.append(Pair(instances(boxes, classes, [1.0] * n), instances(moved, classes, scores)))
    labels = {1: "car", 2: "person"}
    ours = mask_ap(pairs, labels)
    expected = judged_directly(pairs, labels)
    assert [ours.overall[name] for name in SUMMARY] == pytest.approx(expected, abs=1e-12)
    assert 0.1 < ours.overall["AP"] < 0.9


def judged_directly(pairs: list[Pair], labels: dict[int, str]) -> list[float]:
    images, truths, answers = [], [], []
    for image, pair in enumerate(pairs, start=1):
        images.append({"id": image, "height": SIZE[0], "width": SIZE[1]})
        for rows, found in ((truths, pair.truth), (answers, pair.found)):
            for row, dense in enumerate(found.masks.dense()):
                rle = coco_mask.encode(np.asfortranarray(dense.astype(np.uint8)))
                rows.append(
                    {
                        "id": len(rows) + 1,
                        "image_id": image,
                        "category_id": int(found.class_ids[row]),
                        "segmentation": rle,
                        "area": int(dense.sum()),
                        "bbox": coco_mask.toBbox(rle).tolist(),
                        "iscrowd": 0,
                        "score": float(found.scores[row]),
                    }
                )
    categories = [{"id": i, "name": name} for i, name in labels.items()]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "annotations": truths, "categories": categories}
        truth.createIndex()
        for row in answers:
            del row["id"], row["area"]
        judge = COCOeval(truth, truth.loadRes(answers), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [float(value) for value in judge.stats[:6]]
