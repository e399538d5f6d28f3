"""Tracks drawn by hand whose figures can be worked out on paper."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import ConfigError, SourceError
from pipeline.evaluation import evaluate_tracks
from pipeline.evaluation.metrics import count
from pipeline.evaluation.rules import MOT_RULES, judge_mot
from pipeline.formats.mot import read_mot

Row = tuple[int, int, float]  # frame, id, left edge of a box of 10 × 10


def box_scores(folder: Path, truth: list[Row], result: list[Row], frames: int) -> dict[str, float]:
    for name, rows in (("gt", truth), ("ours", result)):
        text = "".join(f"{frame},{i},{x},0,10,10,1,1,1\n" for frame, i, x in rows)
        (folder / f"{name}.txt").write_text(text)
    tables = read_mot(folder / "gt.txt"), read_mot(folder / "ours.txt")
    return count(judge_mot(*tables, rule=MOT_RULES["mot17"], frames=frames)).scores()


TRUTH: list[Row] = [(frame, 1, 0.0) for frame in (1, 2, 3, 4)]


def test_a_perfect_answer_is_one_hundred_percent(tmp_path: Path) -> None:
    scores = box_scores(tmp_path, TRUTH, [(f, 7, x) for f, _, x in TRUTH], 4)
    for name in ("HOTA", "DetA", "AssA", "LocA", "MOTA", "sMOTA", "MOTP", "IDF1"):
        assert scores[name] == 1.0
    assert (scores["IDSW"], scores["Frag"], scores["MT"]) == (0, 0, 1)


def test_one_switch_in_the_middle_halves_the_association(tmp_path: Path) -> None:
    result = [(1, 7, 0.0), (2, 7, 0.0), (3, 8, 0.0), (4, 8, 0.0)]
    scores = box_scores(tmp_path, TRUTH, result, 4)
    assert scores["IDSW"] == 1
    assert scores["MOTA"] == 0.75
    assert scores["DetA"] == 1.0
    assert scores["AssA"] == pytest.approx(0.5)
    assert scores["HOTA"] == pytest.approx(0.5**0.5)
    assert scores["IDF1"] == 0.5


def test_a_hole_is_a_fragment_and_no_switch(tmp_path: Path) -> None:
    # The frame of the hole has another answer: an empty frame interrupts nothing.
    result = [(1, 7, 0.0), (2, 7, 0.0), (3, 9, 500.0), (4, 7, 0.0)]
    scores = box_scores(tmp_path, TRUTH, result, 4)
    assert (scores["IDSW"], scores["Frag"], scores["FP"], scores["FN"]) == (0, 1, 1, 1)
    assert scores["MOTA"] == 0.5
    assert scores["AssA"] == pytest.approx(3 / 4)


def test_no_answer_is_zero(tmp_path: Path) -> None:
    scores = box_scores(tmp_path, TRUTH, [], 4)
    assert (scores["HOTA"], scores["MOTA"], scores["IDF1"], scores["ML"]) == (0, 0, 0, 1)


def test_no_truth_and_no_answer_counts_nothing(tmp_path: Path) -> None:
    scores = box_scores(tmp_path, [], [], 4)
    assert (scores["TP"], scores["FN"], scores["FP"], scores["ML"]) == (0, 0, 0, 0)


def test_looser_boxes_pass_only_the_lower_thresholds(tmp_path: Path) -> None:
    # Shifted by 2 of 10: 8 shared of 12, IoU 2/3: thresholds 0.05 to 0.65 are 13 of 19.
    scores = box_scores(tmp_path, TRUTH, [(f, 7, 2.0) for f, _, _ in TRUTH], 4)
    assert scores["HOTA"] == pytest.approx(13 / 19)
    assert scores["MOTP"] == pytest.approx(2 / 3)
    assert scores["sMOTA"] == pytest.approx(2 / 3)


def test_a_distractor_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    (tmp_path / "gt").mkdir()
    (tmp_path / "ours").mkdir()
    (tmp_path / "gt" / "s.txt").write_text("1,1,0,0,10,10,1,1,1\n1,2,50,0,10,10,1,8,1\n")
    answers = "1,5,0,0,10,10,1,-1,-1,-1\n1,6,50,0,10,10,1,-1,-1,-1\n"
    (tmp_path / "ours" / "s.txt").write_text(answers)
    of_year = {
        year: evaluate_tracks(tmp_path / "gt", tmp_path / "ours", format=year).classes["pedestrian"]
        for year in ("mot17", "mot15")
    }
    assert of_year["mot17"]["s"]["MOTA"] == 1.0
    assert (of_year["mot17"]["s"]["TP"], of_year["mot17"]["s"]["FP"]) == (1, 0)
    assert of_year["mot15"]["s"]["TP"] == 2  # there every box counts


# -- masks --------------------------------------------------------------------------------------


def mots_line(frame: int, track: int, class_id: int, box: tuple[int, int, int, int]) -> str:
    dense = np.zeros((20, 40), np.uint8, order="F")
    x1, y1, x2, y2 = box
    dense[y1:y2, x1:x2] = 1
    return f"{frame} {track} {class_id} 20 40 {coco_mask.encode(dense)['counts'].decode()}\n"


def mots_folders(folder: Path, truth: list[str], result: list[str]) -> tuple[Path, Path]:
    for name, lines in (("gt", truth), ("ours", result)):
        (folder / name).mkdir()
        (folder / name / "s.txt").write_text("".join(lines))
    return folder / "gt", folder / "ours"


CAR = (0, 0, 10, 10)


def test_a_mask_in_an_ignored_region_is_not_wrong(tmp_path: Path) -> None:
    truth = [mots_line(0, 1001, 1, CAR), mots_line(0, 10000, 10, (20, 0, 40, 20))]
    inside, outside = (22, 2, 30, 12), (10, 12, 18, 20)
    result = [mots_line(0, 1, 1, CAR), mots_line(0, 2, 1, inside), mots_line(0, 3, 1, outside)]
    gt, ours = mots_folders(tmp_path, truth, result)
    car = evaluate_tracks(gt, ours, format="kitti-mots").classes["car"]["COMBINED"]
    assert (car["TP"], car["FP"], car["FN"]) == (1, 1, 0)


def test_classes_are_judged_apart(tmp_path: Path) -> None:
    truth = [mots_line(0, 1001, 1, CAR)]
    gt, ours = mots_folders(tmp_path, truth, [mots_line(0, 1, 2, CAR)])
    classes = evaluate_tracks(gt, ours, format="kitti-mots").classes
    assert classes["car"]["s"]["FN"] == 1
    assert classes["pedestrian"]["s"]["FP"] == 1


def test_mots_counts_frames_from_one(tmp_path: Path) -> None:
    line = mots_line(1, 2001, 2, CAR)
    gt, ours = mots_folders(tmp_path, [line], [line])
    assert evaluate_tracks(gt, ours, format="mots").classes["pedestrian"]["s"]["HOTA"] == 1.0
    (ours / "s.txt").write_text(mots_line(0, 2001, 2, CAR))
    with pytest.raises(SourceError, match=r"s\.txt line 1: frame 0 is outside"):
        evaluate_tracks(gt, ours, format="mots")


def test_overlapping_masks_are_refused_in_one_line_and_resolved_on_demand(tmp_path: Path) -> None:
    half = (5, 0, 15, 10)
    truth = [mots_line(0, 1001, 1, CAR)]
    gt, ours = mots_folders(tmp_path, truth, [truth[0], mots_line(0, 1002, 1, half)])
    with pytest.raises(SourceError) as error:
        evaluate_tracks(gt, ours, format="kitti-mots")
    assert "lines 1-2: masks of frame 0 share 50 pixels" in str(error.value)
    assert "--resolve-overlaps" in str(error.value)
    assert "\n" not in str(error.value)
    report = evaluate_tracks(gt, ours, format="kitti-mots", resolve_overlaps=True)
    car = report.classes["car"]["s"]
    assert (car["TP"], car["FP"], car["MOTP"]) == (1, 1, 1.0)  # the first line keeps its pixels


def test_a_mask_that_loses_every_pixel_is_left_out(tmp_path: Path) -> None:
    truth = [mots_line(0, 1001, 1, CAR)]
    gt, ours = mots_folders(tmp_path, truth, [truth[0], mots_line(0, 1002, 1, (2, 2, 5, 5))])
    report = evaluate_tracks(gt, ours, format="kitti-mots", resolve_overlaps=True)
    assert report.classes["car"]["s"]["FP"] == 0


def test_three_hundred_masks_of_a_frame_are_compared(tmp_path: Path) -> None:
    boxes = [(x, y, x + 1, y + 1) for x in range(40) for y in range(8)]
    lines = [mots_line(0, i + 1, 1, box) for i, box in enumerate(boxes)]
    gt, ours = mots_folders(tmp_path, lines, lines)
    assert evaluate_tracks(gt, ours, format="kitti-mots").classes["car"]["s"]["TP"] == 320


def test_the_report_is_a_table_a_class_and_json(tmp_path: Path) -> None:
    line = mots_line(0, 1001, 1, CAR)
    gt, ours = mots_folders(tmp_path, [line], [line])
    report = evaluate_tracks(gt, ours, format="kitti-mots")
    text = str(report).splitlines()
    assert text[0] == "car"
    assert text[1].split()[:3] == ["HOTA", "DetA", "AssA"]
    assert text[2].split()[:2] == ["s", "100.00"]
    assert '"format": "kitti-mots"' in report.to_json()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    line = mots_line(0, 1001, 1, CAR)
    gt, ours = mots_folders(tmp_path, [line], [line])
    with pytest.raises(ConfigError, match="expected one of"):
        evaluate_tracks(gt, ours, format="mots20")
    (gt / "s.txt").rename(gt / "other.txt")
    with pytest.raises(ConfigError, match=r"has neither s\.txt nor s/gt/gt\.txt"):
        evaluate_tracks(gt, ours, format="kitti-mots")
    (ours / "s.txt").unlink()
    with pytest.raises(ConfigError, match=r"no \.txt file there"):
        evaluate_tracks(gt, ours, format="kitti-mots")
