"""Pictures keep their file names: in records, in COCO results, and beside the truth."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.cli.main import main
from pipeline.evaluation import evaluate_run, evaluate_tracks

IMAGES = {"berry.png": 139, "apple2.png": 285, "apple10.png": 7}
"""File names and the ids a data set gave them; neither is in the order of the other."""
RED = 1


class Answer(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture
def maskstream(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run `maskstream ARGS...` in this process."""

    def run(*args: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["maskstream", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Answer(int(ended.value.code or 0), out, err)

    return run


def square(image_id: int) -> tuple[slice, slice]:
    """Where the red square of a picture is."""
    at = image_id % 40
    return slice(at, at + 20), slice(at + 5, at + 35)


def draw(path: Path, image_id: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((64, 96, 3), 120, np.uint8)
    image[square(image_id)] = (0, 0, 255)
    cv2.imwrite(str(path), image)


def truth(images: dict[str, int], **more: Any) -> dict[str, Any]:
    rows = []
    for number, image_id in enumerate(images.values(), start=1):
        dense = np.zeros((64, 96), np.uint8, order="F")
        dense[square(image_id)] = 1
        mask = coco_mask.encode(dense)
        rows.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": RED,
                "segmentation": {"size": mask["size"], "counts": mask["counts"].decode()},
                "area": int(dense.sum()),
                "bbox": coco_mask.toBbox(mask).tolist(),
                "iscrowd": 0,
                **more,
            }
        )
    listed = [{"id": i, "file_name": name, "width": 96, "height": 64} for name, i in images.items()]
    categories = [{"id": RED, "name": "red"}]
    return {"images": listed, "annotations": rows, "categories": categories}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three pictures and its truth."""
    monkeypatch.chdir(tmp_path)
    for name, image_id in IMAGES.items():
        draw(tmp_path / "fruit" / name, image_id)
    (tmp_path / "truth.json").write_text(json.dumps(truth(IMAGES)))
    return tmp_path


def run(maskstream: Command, source: str = "fruit", *more: object, tracker: str = "none") -> Answer:
    args = ("--model", "blob", "--local", "--quiet", "--tracker", tracker)
    sinks = ("--sink", "jsonl:out/{source}.jsonl", *more)
    return maskstream("track", source, *args, *sinks)


def records(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()][:-1]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("fruit", ["apple2.png", "apple10.png", "berry.png"]),
        ("fruit/", ["apple2.png", "apple10.png", "berry.png"]),
        ("./fruit/ap*.png", ["apple2.png", "apple10.png"]),
        ("*/berry.png", ["fruit/berry.png"]),
        ("**/a*.png", ["fruit/apple2.png", "fruit/apple10.png"]),
        ("fruit/berry.png", ["berry.png"]),
    ],
)
def test_a_record_has_the_name_within_its_folder_or_glob(
    here: Path, maskstream: Command, source: str, names: list[str]
) -> None:
    assert run(maskstream, source).code == 0
    (file,) = Path("out").glob("*.jsonl")
    assert [record["file"] for record in records(str(file))] == names


def test_a_name_that_is_no_text_is_spelled_with_a_mark(here: Path, maskstream: Command) -> None:
    os.rename(b"fruit/berry.png", b"fruit/b\xe9rry.png")
    assert run(maskstream).code == 0
    assert records("out/fruit.jsonl")[2]["file"] == "b\ufffdrry.png"


def test_a_video_has_no_file_name_in_its_records(here: Path, maskstream: Command) -> None:
    assert run(maskstream, "synthetic://street?frames=2&size=160x120").code == 0
    assert all("file" not in record for record in records("out/street.jsonl"))


def judged(results: str) -> float:
    """The AP pycocotools gives to a results file as it is."""
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO("truth.json")
        judge = COCOeval(data, data.loadRes(results), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0])


def test_coco_results_have_the_ids_of_the_data_set(here: Path, maskstream: Command) -> None:
    done = run(maskstream, "fruit", "--sink", "coco:out/{source}.json?images=truth.json")
    assert done.code == 0
    rows = json.loads(Path("out/fruit.json").read_text())
    assert {row["file_name"]: row["image_id"] for row in rows} == IMAGES
    assert judged("out/fruit.json") == pytest.approx(1.0)


def test_without_a_data_set_the_ids_are_frame_indices_and_the_names_stand_beside(
    here: Path, maskstream: Command
) -> None:
    assert run(maskstream, "fruit", "--sink", "coco:out/{source}.json").code == 0
    rows = json.loads(Path("out/fruit.json").read_text())
    assert [(row["image_id"], row["file_name"]) for row in rows] == [
        (0, "apple2.png"),
        (1, "apple10.png"),
        (2, "berry.png"),
    ]


def test_a_picture_the_data_set_does_not_have_ends_the_sink_with_its_name(
    here: Path, maskstream: Command
) -> None:
    draw(here / "fruit" / "zebra.png", 3)
    done = run(maskstream, "fruit", "--sink", "coco:out/{source}.json?images=truth.json")
    assert done.code == 1
    assert "zebra.png of fruit is none of the images of truth.json" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("content", ["[]", None])
def test_a_data_set_that_cannot_be_read_is_one_line(
    here: Path, maskstream: Command, content: str | None
) -> None:
    if content is not None:
        Path("ids.json").write_text(content)
    done = run(maskstream, "fruit", "--sink", "coco:out/{source}.json?images=ids.json")
    assert done.code == 2
    assert "ids.json" in done.err
    assert "Traceback" not in done.err


def test_eval_matches_pictures_to_the_truth_by_name(here: Path, maskstream: Command) -> None:
    run(maskstream)
    report = evaluate_run(Path("out"), gt=Path("truth.json"))
    assert report.average_precision is not None
    assert report.average_precision.overall["AP"] == pytest.approx(1.0)
    assert (report.average_precision.pictures, report.average_precision.objects) == (3, 3)
    assert (report.unknown, report.missing) == (0, 0)


def test_what_only_one_side_has_is_not_judged_and_said(here: Path, maskstream: Command) -> None:
    draw(here / "fruit" / "zebra.png", 3)
    run(maskstream)
    Path("truth.json").write_text(json.dumps(truth(IMAGES | {"lost.png": 50, "gone.png": 51})))
    answer = maskstream("eval", "run", "out", "--gt", "truth.json")
    assert answer.code == 0
    assert "mask AP of 3 objects in 3 pictures\n  AP 1.000" in answer.out
    assert answer.out.rstrip().endswith(
        "not judged: 1 frames the truth does not know, 2 of its pictures that were not published"
    )


def renamed(images: dict[str, int]) -> dict[str, Any]:
    return truth({f"other-{name}": image_id for name, image_id in images.items()})


def empty(images: dict[str, int]) -> dict[str, Any]:
    return {**truth(images), "annotations": []}


def elsewhere(images: dict[str, int]) -> dict[str, Any]:
    """All objects are in a picture that was not published."""
    content = truth(images | {"lost.png": 50})
    content["annotations"] = content["annotations"][-1:]
    return content


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (renamed, "truth.json: knows none of the frames of fruit (apple2.png, ...); frames are"),
        (elsewhere, "truth.json: has nothing in the 3 frames of fruit (apple2.png, ...); frames"),
        (empty, "out: the truth has no object in the 3 frames that can be judged, so there is no"),
    ],
)
def test_where_nothing_matches_eval_refuses_in_one_line(
    here: Path, maskstream: Command, make: Any, message: str
) -> None:
    run(maskstream)
    Path("truth.json").write_text(json.dumps(make(IMAGES)))
    answer = maskstream("eval", "run", "out", "--gt", "truth.json")
    assert answer.code == 2
    assert message in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert "AP" not in answer.out


def test_a_run_that_published_nothing_is_not_judged(here: Path, maskstream: Command) -> None:
    run(maskstream)
    end = Path("out/fruit.jsonl").read_text().splitlines()[-1]
    Path("out/fruit.jsonl").write_text(end + "\n")
    answer = maskstream("eval", "run", "out", "--gt", "truth.json")
    assert (answer.code, "AP -1" in answer.out) == (2, False)


def test_frames_of_a_video_the_truth_does_not_know_are_not_judged(
    here: Path, maskstream: Command
) -> None:
    run(maskstream)
    lines = [json.loads(line) for line in Path("out/fruit.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("file", None)  # as of a video: matched by frame index
    Path("out/fruit.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    known = truth({"x": 0, "y": 2, "z": 8})
    known["annotations"][0]["segmentation"] = lines[0]["instances"][0]["mask"]
    known["annotations"][1]["segmentation"] = lines[2]["instances"][0]["mask"]
    known["annotations"] = known["annotations"][:2]
    Path("truth.json").write_text(json.dumps(known))
    report = evaluate_run(Path("out"), gt=Path("truth.json"))
    assert report.average_precision is not None
    assert report.average_precision.overall["AP"] == pytest.approx(1.0)
    assert (report.average_precision.pictures, report.unknown, report.missing) == (2, 1, 1)


def test_a_truth_by_names_cannot_tell_the_pictures_of_one_file_apart(
    here: Path, maskstream: Command
) -> None:
    red = np.full((64, 96, 3), (0, 0, 255), np.uint8)
    cv2.imwritemulti("fruit/stack.tif", [red, red])
    run(maskstream)
    Path("truth.json").write_text(json.dumps(truth(IMAGES | {"stack.tif": 1})))
    answer = maskstream("eval", "run", "out", "--gt", "truth.json")
    assert answer.code == 2
    assert "stack.tif of fruit holds 2 pictures" in answer.err


def test_records_without_tracks_are_not_judged_as_tracks(here: Path, maskstream: Command) -> None:
    run(maskstream)
    Path("gt").mkdir()
    Path("gt/fruit.json").write_text(json.dumps(truth(IMAGES, track_id=1)))
    answer = maskstream("eval", "track", "--gt", "gt", "--results", "out", "--format", "jsonl")
    assert answer.code == 2
    assert "the run has instances without a track id; use a tracker" in answer.err


def test_tracks_of_pictures_are_matched_by_name_too(here: Path, maskstream: Command) -> None:
    run(maskstream, tracker="default")
    Path("gt").mkdir()
    Path("gt/fruit.json").write_text(json.dumps(truth(IMAGES, track_id=1)))
    report = evaluate_tracks(Path("gt"), Path("out"), format="jsonl")
    rows = report.classes["red"]["fruit"]
    assert rows["LocA"] == pytest.approx(1.0)
    assert rows["TP"] + rows["FN"] == 3
    content = truth(IMAGES, track_id=1)
    Path("gt/lost.json").write_text(json.dumps(content))
    answer = maskstream("eval", "track", "--gt", "gt", "--results", "out", "--format", "jsonl")
    assert answer.code == 2
    assert "out: has no result for 1 of 2 sequences: lost; where nothing" in answer.err
    Path("gt/lost.json").unlink()
    again = {**content["annotations"][0], "id": 9}
    twice = {**content, "annotations": [*content["annotations"], again]}
    Path("gt/fruit.json").write_text(json.dumps(twice))
    answer = maskstream("eval", "track", "--gt", "gt", "--results", "out", "--format", "jsonl")
    assert answer.code == 2
    assert "the truth has a track id twice in one frame" in answer.err
    Path("gt/fruit.json").write_text(json.dumps({**renamed(IMAGES)} | {"annotations": []}))
    answer = maskstream("eval", "track", "--gt", "gt", "--results", "out", "--format", "jsonl")
    assert answer.code == 2
