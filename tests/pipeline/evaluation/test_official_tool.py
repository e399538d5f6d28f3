"""HOTA, CLEAR and Identity beside `trackeval` on real detections followed by our tracker."""

import contextlib
import gzip
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.evaluation import evaluate_tracks
from pipeline.evaluation.retrack import retrack

HOTA = ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA")
CLEAR = ("MOTA", "sMOTA", "MOTP", "TP", "FN", "FP", "IDSW", "Frag", "MT", "PT", "ML")
CLEAR_NAMES = {"TP": "CLR_TP", "FN": "CLR_FN", "FP": "CLR_FP"}
IDENTITY = ("IDF1", "IDR", "IDP")


def judged_by_trackeval(dataset: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """`trackeval`'s figures by sequence and class."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore", DeprecationWarning)
        import trackeval

        quiet = {"PRINT_CONFIG": False, "OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False}
        quiet |= {"PLOT_CURVES": False, "PRINT_RESULTS": False, "TIME_PROGRESS": False}
        quiet |= {"OUTPUT_EMPTY_CLASSES": False, "BREAK_ON_ERROR": True, "LOG_ON_ERROR": None}
        data = getattr(trackeval.datasets, dataset)({**config, "PRINT_CONFIG": False})
        metrics = [
            trackeval.metrics.HOTA(),
            trackeval.metrics.CLEAR({"THRESHOLD": 0.5, "PRINT_CONFIG": False}),
            trackeval.metrics.Identity({"THRESHOLD": 0.5, "PRINT_CONFIG": False}),
        ]
        results, _ = trackeval.Evaluator(quiet).evaluate([data], metrics)
    return dict(results[data.get_name()]["ours"])


def assert_equal(ours: Mapping[str, float], theirs: Mapping[str, Any], where: str) -> None:
    expected = {name: float(theirs["HOTA"][name].mean()) for name in HOTA}
    expected |= {name: float(theirs["CLEAR"][CLEAR_NAMES.get(name, name)]) for name in CLEAR}
    expected |= {name: float(theirs["Identity"][name]) for name in IDENTITY}
    assert {name: ours[name] for name in expected} == pytest.approx(expected, abs=1e-6), where


def check(
    gt: Path, results: Path, format: str, theirs: Mapping[str, Any], sequences: Sequence[str]
) -> None:
    seqmap = results.parent / "seqmap.txt"
    seqmap.write_text("name\n" + "".join(f"{sequence}\n" for sequence in sequences))
    report = evaluate_tracks(gt, results, format=format, seqmap=seqmap)
    for name, rows in report.classes.items():
        for sequence in sequences:
            assert_equal(rows[sequence], theirs[sequence][name], f"{sequence} {name}")
        assert_equal(rows["COMBINED"], theirs["COMBINED_SEQ"][name], f"all {name}")
        assert rows["COMBINED"]["TP"] > 0


@pytest.mark.parametrize(
    ("kind", "sequences"),
    [("dets", ("0000", "0012", "0015")), ("dets_noisy", ("0004", "0012"))],
)
def test_kitti_mots_equals_trackeval(
    shared_data: Path, tmp_path: Path, kind: str, sequences: tuple[str, ...]
) -> None:
    every = lengths_in(shared_data / "kitti-mots" / "sequences.csv")
    lengths = {sequence: every[sequence] for sequence in sequences}
    gt, results = tmp_path / "gt" / "label_02", tmp_path / "results" / "ours" / "data"
    results.mkdir(parents=True)
    gt.mkdir(parents=True)
    for sequence in lengths:
        truth = shared_data / "kitti-mots" / "instances_txt" / f"{sequence}.txt"
        (gt / truth.name).symlink_to(truth)
        source = shared_data / "kitti-mots" / kind / f"{sequence}.txt"
        retrack(source, format="mots", fps=10, output=results / f"{sequence}.txt")
    config = {"GT_FOLDER": str(gt.parent), "TRACKERS_FOLDER": str(tmp_path / "results")}
    theirs = judged_by_trackeval("KittiMOTS", {**config, "SEQ_INFO": lengths})
    check(gt, results, "kitti-mots", theirs, tuple(lengths))


@pytest.mark.parametrize(
    ("format", "benchmark", "sequences"),
    [
        ("mot17", "MOT17", {"MOT17-09": 525}),
        ("mot15", "MOT15", {"TUD-Campus": 71, "TUD-Stadtmitte": 179}),
    ],
)
def test_boxes_equal_trackeval(
    shared_data: Path, tmp_path: Path, format: str, benchmark: str, sequences: dict[str, int]
) -> None:
    results = tmp_path / "ours" / "data"
    results.mkdir(parents=True)
    for sequence in sequences:
        source = shared_data / "mot" / sequence / "det" / "det.txt"
        retrack(source, format="mot", fps=25, output=results / f"{sequence}.txt")
    config = {"GT_FOLDER": str(shared_data / "mot"), "TRACKERS_FOLDER": str(tmp_path)}
    config |= {
        "TRACKERS_TO_EVAL": ["ours"],
        "BENCHMARK": benchmark,
        "SKIP_SPLIT_FOL": True,
        "SEQ_INFO": sequences,
    }
    theirs = judged_by_trackeval("MotChallenge2DBox", config)
    check(shared_data / "mot", results, format, theirs, tuple(sequences))


def test_dancers_equal_trackeval(shared_data: Path, tmp_path: Path) -> None:
    gt, results = tmp_path / "gt", tmp_path / "ours" / "data"
    results.mkdir(parents=True)
    lengths = {"dancetrack0073": 703}
    for sequence in lengths:
        folder = shared_data / "dancetrack" / sequence
        truth = gt / sequence / "gt" / "gt.txt"
        truth.parent.mkdir(parents=True)
        truth.write_bytes(gzip.decompress((folder / "gt.txt.gz").read_bytes()))
        found = tmp_path / f"{sequence}.txt"
        found.write_bytes(gzip.decompress((folder / "det.txt.gz").read_bytes()))
        retrack(found, format="mot", fps=20, output=results / f"{sequence}.txt")
    config = {"GT_FOLDER": str(gt), "TRACKERS_FOLDER": str(tmp_path)}
    config |= {"TRACKERS_TO_EVAL": ["ours"], "BENCHMARK": "MOT17", "SKIP_SPLIT_FOL": True}
    theirs = judged_by_trackeval("MotChallenge2DBox", {**config, "SEQ_INFO": lengths})
    check(gt, results, "mot17", theirs, tuple(lengths))


@pytest.mark.parametrize("label", ["car", "pedestrian"])
def test_the_kitti_boxes_of_the_benchmark_equal_trackeval(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3]))
    from benchmarks import tracking_data, tracking_tasks

    name = {"car": "KITTI cars", "pedestrian": "KITTI people"}[label]
    task = next(t for t in tracking_data.tasks(shared_data) if t.name == name)
    videos = list(task.read())
    results = tmp_path / "tracks" / "ours" / "data"
    results.mkdir(parents=True)
    for video in videos:
        lines = []
        for frame, (_, found) in enumerate(tracking_tasks.follow(video)):
            assert found.track_ids is not None
            for i, box in zip(found.track_ids, found.boxes.astype(float), strict=True):
                corners = " ".join(str(value) for value in box)
                lines.append(f"{frame} {i} {label} -1 -1 -10 {corners} -1 -1 -1 -1 -1 -1 -1 1\n")
        (results / f"{video.name}.txt").write_text("".join(lines))
    gt = tmp_path / "gt"
    gt.mkdir()
    (gt / "label_02").symlink_to(shared_data / "mot" / "kitti" / "label_02")
    rows = [f"{v.name} empty 000000 {len(v.moments):06d}\n" for v in videos]
    (gt / "evaluate_tracking.seqmap.training").write_text("".join(rows))
    config = {"GT_FOLDER": str(gt), "TRACKERS_FOLDER": str(tmp_path / "tracks")}
    theirs = judged_by_trackeval("Kitti2DBox", {**config, "CLASSES_TO_EVAL": [label]})
    ours = tracking_tasks.scores(videos)[label]
    assert_equal(ours, theirs["COMBINED_SEQ"][label], name)
    assert ours["TP"] > 500


def lengths_in(table: Path) -> dict[str, int]:
    """Frames by sequence."""
    rows = (line.split(",") for line in table.read_text().splitlines()[1:])
    return {row[0]: int(row[1]) for row in rows}
