"""Recorded detections followed again: the live tracker's ids, in files other tools read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import ConfigError, SourceError
from pipeline.evaluation import evaluate_run, evaluate_tracks
from pipeline.evaluation.overlap import shared_pixels
from pipeline.evaluation.retrack import retrack
from pipeline.formats import jsonl
from pipeline.formats.mots import read_mots
from pipeline.instances import Instances
from pipeline.results import FrameResult
from pipeline.sources.street.synthetic import SyntheticSource
from pipeline.tracking import make_tracker
from pipeline.tracking.tracker import StreamTracker

URL = "synthetic://street?seed=3&frames=30&size=320x180&fps=10"
FPS = 10.0


@pytest.fixture(scope="module")
def street() -> list[Instances]:
    """The truth of a short street, as detections without ids."""
    source = SyntheticSource(URL, source_id="street")
    return [replace(source.truth(i), track_ids=None) for i in range(30)]


def write_detections(path: Path, street: list[Instances]) -> None:
    with path.open("w") as file:
        for frame, found in enumerate(street):
            height, width = found.masks.size
            for row, rle in enumerate(found.masks.to_coco()):
                class_id, counts = found.class_ids[row], rle["counts"]
                file.write(f"{frame} 0 {class_id} {height} {width} {counts} 0.9\n")


def write_records(folder: Path, street: list[Instances], *, tracker: str = "default") -> Path:
    """The output of a run, as far as the evaluation reads it."""
    follow = make_tracker(class_names=labels()) if tracker != "none" else None
    lines = []
    for index, found in enumerate(street):
        if follow is not None:
            found = follow.update(found, pts_s=index / FPS, image_size=found.masks.size)
        result = FrameResult(
            "run",
            "street",
            0,
            index,
            index / FPS,
            None,
            None,
            found.masks.size,
            "m",
            found,
            labels(),
        )
        lines.append(jsonl.dumps(result))
    folder.mkdir(exist_ok=True)
    source = f'{{"id": "street", "url": "{URL}", "tracker": "{tracker}"}}'
    (folder / "run.json").write_text(f'{{"schema": "maskstream.run/1", "sources": [{source}]}}')
    (folder / "street.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return folder / "street.jsonl"


def labels() -> dict[int, str]:
    return dict(SyntheticSource(URL, source_id="s").labels)


def test_mots_text_gets_the_ids_of_the_live_tracker(
    tmp_path: Path, street: list[Instances]
) -> None:
    write_detections(tmp_path / "in.txt", street)
    summary = retrack(tmp_path / "in.txt", format="mots", fps=FPS, output=tmp_path / "out.txt")
    table = read_mots(tmp_path / "out.txt")
    tracker, expected = make_tracker(class_names={1: "car", 2: "pedestrian"}), []
    for index, found in enumerate(street):
        scores = np.full(len(found), 0.9, np.float32)
        boxes = found.masks.boxes().astype(np.float32)
        found = replace(found, scores=scores, boxes=boxes)
        found = tracker.update(found, pts_s=index / FPS, image_size=found.masks.size)
        counts = [rle["counts"] for rle in found.masks.to_coco()]
        ids = found.track_ids.tolist() if found.track_ids is not None else []
        expected += [(index, i, c) for i, c in zip(ids, counts, strict=True)]
    got = zip(table.frames.tolist(), table.ids.tolist(), table.rles, strict=True)
    assert sorted(got) == sorted(expected)
    assert len(expected) > 30
    assert summary.published == len(expected)
    assert summary.tracks == len(set(table.ids.tolist()))
    assert "tracks" in str(summary)


def test_mots_output_has_six_columns_and_disjoint_masks_none_empty(
    tmp_path: Path, street: list[Instances]
) -> None:
    shifted = [replace(f, masks=f.masks.translate(np.arange(len(f)) * 7 % 11, 0)) for f in street]
    write_detections(tmp_path / "in.txt", shifted)
    retrack(tmp_path / "in.txt", format="mots", fps=FPS, output=tmp_path / "out.txt")
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert {len(line.split(" ")) for line in lines} == {6}
    table = read_mots(tmp_path / "out.txt")
    for frame in np.unique(table.frames):
        rows = table.coco(np.flatnonzero(table.frames == frame))
        assert shared_pixels(rows) == 0
    assert min(coco_mask.area(rle) for rle in table.coco(np.arange(len(table)))) > 0


def test_a_retracked_record_file_is_the_record_file_of_the_live_tracker(
    tmp_path: Path, street: list[Instances]
) -> None:
    tracked = write_records(tmp_path / "a", street)
    raw = write_records(tmp_path / "b", street, tracker="none")
    again = tmp_path / "again.jsonl"
    retrack(raw, format="jsonl", output=again)
    assert again.read_bytes() == tracked.read_bytes()


def test_ids_of_the_input_mean_nothing(tmp_path: Path, street: list[Instances]) -> None:
    tracked = write_records(tmp_path / "a", street)
    other = tmp_path / "other.jsonl"
    other.write_bytes(tracked.read_bytes().replace(b'"track":', b'"track":7'))
    outputs = [tmp_path / "from_tracked.jsonl", tmp_path / "from_other.jsonl"]
    retrack(tracked, format="jsonl", output=outputs[0])
    retrack(other, format="jsonl", output=outputs[1])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_box_text_is_followed_and_keeps_its_scores(tmp_path: Path) -> None:
    rows = [f"{frame},-1,{10 + frame},20,30,40,0.87,-1,-1,-1\n" for frame in range(1, 6)]
    (tmp_path / "in.txt").write_text("".join(rows))
    retrack(tmp_path / "in.txt", format="mot", fps=10, output=tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text().splitlines()[0] == (
        "1,1,11.00,20.00,30.00,40.00,0.8700,-1,-1,-1"
    )
    assert {line.split(",")[1] for line in (tmp_path / "out.txt").open()} == {"1"}


def test_affines_carry_a_track_over_a_jump_of_the_camera(tmp_path: Path) -> None:
    left = [10, 12, 14, 216, 218, 220]  # the picture jumps by 200 px at the fourth frame
    rows = [f"{f},-1,{x},20,30,40,0.9,-1,-1,-1\n" for f, x in enumerate(left, start=1)]
    (tmp_path / "in.txt").write_text("".join(rows))
    (tmp_path / "affines.txt").write_text("4 1 0 200 0 1 0\n")
    tracks = {}
    for name, affines in (("without", None), ("with", tmp_path / "affines.txt")):
        tracks[name] = retrack(
            tmp_path / "in.txt", format="mot", fps=10, output=tmp_path / name, affines=affines
        ).tracks
    assert tracks == {"without": 2, "with": 1}


@pytest.mark.parametrize(
    ("format", "text", "message"),
    [
        ("mots", "0 1 1 10\n", r"in\.txt line 1: 4 columns, expected 6 or 7"),
        ("mots", "0 1 1 10 10 !!\n", r"in\.txt line 1: not a compressed COCO run-length text"),
        ("mot", "1,1,0,0,9,9,1\n\n2,1,0\n", r"in\.txt line 3: 3 columns"),
        ("mot", "2,1,0,0,9,9,1\n1,1,0,0,9,9,1\n", r"in\.txt line 2: frame 1 comes after frame 2"),
        ("mot", "1,1,0,0,nan,9,1\n", r"in\.txt line 1: a value is not finite"),
        ("jsonl", "{}\n{\n", r"in\.txt"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, format: str, text: str, message: str) -> None:
    (tmp_path / "in.txt").write_text(text)
    with pytest.raises(SourceError, match=message):
        retrack(tmp_path / "in.txt", format=format, fps=10, output=tmp_path / "out.txt")


def test_wrong_affines_and_missing_rates_are_named(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("1,1,0,0,9,9,1\n")
    (tmp_path / "affines.txt").write_text("1 1 0 0 0 1 0\n2 1 0 0\n")
    with pytest.raises(SourceError, match=r"affines\.txt line 2: 4 columns"):
        retrack(
            tmp_path / "in.txt",
            format="mot",
            fps=10,
            output=tmp_path / "out.txt",
            affines=tmp_path / "affines.txt",
        )
    with pytest.raises(ConfigError, match="--fps"):
        retrack(tmp_path / "in.txt", format="mot", output=tmp_path / "out.txt")
    with pytest.raises(ConfigError, match="--format"):
        retrack(tmp_path / "in.txt", format="csv", fps=10, output=tmp_path / "out.txt")


def mot_with_gaps(path: Path, *gaps: int) -> Path:
    """Somebody who walks to the right and is away for so many frames."""
    frame, lines = 1, []
    for gap in (0, *gaps):
        frame += gap
        for _ in range(5):
            lines.append(f"{frame},-1,{10 + frame % 50},20,30,60,0.9\n")
            frame += 1
    path.write_text("".join(lines))
    return path


def test_a_gap_is_followed_at_once_with_the_bytes_of_frame_by_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = mot_with_gaps(tmp_path / "in.txt", 3, 40, 400, 1, 3000)
    at_once = retrack(source, format="mot", fps=7.3, output=tmp_path / "at-once.txt")
    monkeypatch.setattr(StreamTracker, "idle", False)
    by_frame = retrack(source, format="mot", fps=7.3, output=tmp_path / "by-frame.txt")
    assert (tmp_path / "at-once.txt").read_bytes() == (tmp_path / "by-frame.txt").read_bytes()
    assert replace(at_once, output=by_frame.output) == by_frame
    assert (at_once.frames, at_once.detections, at_once.tracks) == (3474, 30, 4)


def test_a_gap_of_millions_of_frames_is_not_gone_through_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    update = StreamTracker.update
    monkeypatch.setattr(
        StreamTracker, "update", lambda *args, **kw: seen.append(kw["pts_s"]) or update(*args, **kw)
    )
    source = mot_with_gaps(tmp_path / "in.txt", 9_000_000)
    summary = retrack(source, format="mot", fps=30, output=tmp_path / "out.txt")
    assert summary.frames == 9_000_010
    assert len(seen) < 500


# -- whole runs -----------------------------------------------------------------------------------


def test_a_run_that_found_the_truth_is_perfect(tmp_path: Path, street: list[Instances]) -> None:
    write_records(tmp_path, street)
    report = evaluate_run(tmp_path)
    assert report.tracked_frames == 30
    assert report.average_precision is not None
    assert report.average_precision.pictures == 30
    assert report.tracks["all"]["DetA"] > 0.9  # new tracks wait for their second detection
    assert report.tracks["all"]["LocA"] == pytest.approx(1.0)
    assert set(report.tracks) <= {"all", *labels().values()}
    assert '"tracked_frames": 30' in report.to_json()


def test_mask_ap_is_judged_where_nothing_was_tracked(
    tmp_path: Path, street: list[Instances]
) -> None:
    write_records(tmp_path, street, tracker="none")
    report = evaluate_run(tmp_path)
    assert report.average_precision is not None
    assert report.average_precision.overall["AP"] == pytest.approx(1.0)
    assert report.tracks == {}


def test_records_are_judged_as_tracks_against_mots_text(
    tmp_path: Path, street: list[Instances]
) -> None:
    write_records(tmp_path / "results", street)
    (tmp_path / "gt").mkdir()
    write_detections(tmp_path / "gt" / "street.txt", street)
    truth = (tmp_path / "gt" / "street.txt").read_text().splitlines()
    source = SyntheticSource(URL, source_id="street")
    ids = [i for frame in range(30) for i in source.truth(frame).track_ids.tolist()]
    lines = [
        " ".join([row.split()[0], str(i), *row.split()[2:6]])
        for row, i in zip(truth, ids, strict=True)
    ]
    (tmp_path / "gt" / "street.txt").write_text("\n".join(lines) + "\n")
    tracks = evaluate_tracks(tmp_path / "gt", tmp_path / "results", format="jsonl")
    run = evaluate_run(tmp_path / "results")
    of_run = [scores for name, scores in run.tracks.items() if name != "all"]
    of_tracks = [rows["street"] for rows in tracks.classes.values()]
    key = lambda scores: (scores["TP"], scores["HOTA"])  # noqa: E731
    assert sorted(of_tracks, key=key) == sorted(of_run, key=key)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [(None, "there is no run-.*json"), ("[", "is not JSON"), ("{}", "is not a manifest")],
)
def test_what_is_no_run_is_refused(tmp_path: Path, manifest: str | None, message: str) -> None:
    if manifest is not None:
        (tmp_path / "run.json").write_text(manifest)
    with pytest.raises(ConfigError, match=message):
        evaluate_run(tmp_path)
