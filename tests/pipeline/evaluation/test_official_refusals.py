"""What `trackeval` refuses to judge is refused; what it judges has its figures."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import ConfigError, SourceError
from pipeline.evaluation import evaluate_tracks

FRAMES = 4
FORMATS = {"mot17": "MotChallenge2DBox", "mot15": "MotChallenge2DBox"} | {
    "kitti-mots": "KittiMOTS",
    "mots": "MOTSChallenge",
}


def theirs(gt: Path, ours: Path, format: str, sequences: dict[str, int]) -> dict[str, Any]:
    """`trackeval`'s results of all sequences together.

    Raises:
        Exception: it refuses.
    """
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        import trackeval

        quiet = {"PRINT_CONFIG": False, "OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False}
        quiet |= {"PLOT_CURVES": False, "PRINT_RESULTS": False, "TIME_PROGRESS": False}
        quiet |= {"OUTPUT_EMPTY_CLASSES": False, "BREAK_ON_ERROR": True, "LOG_ON_ERROR": None}
        config = {"GT_FOLDER": str(gt), "TRACKERS_FOLDER": str(ours), "TRACKERS_TO_EVAL": ["ours"]}
        config |= {"SEQ_INFO": sequences, "SKIP_SPLIT_FOL": True, "PRINT_CONFIG": False}
        config |= {"BENCHMARK": format.upper(), "GT_LOC_FORMAT": "{gt_folder}/{seq}.txt"}
        if format == "mots":
            config["BENCHMARK"] = "MOTS"
        data = getattr(trackeval.datasets, FORMATS[format])(config)
        metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR({"PRINT_CONFIG": False})]
        results, _ = trackeval.Evaluator(quiet).evaluate([data], metrics)
    return dict(results[data.get_name()]["ours"]["COMBINED_SEQ"])


class Case:
    """Two sequences, each with its truth and its result."""

    def __init__(self, folder: Path, format: str) -> None:
        self.format = format
        self.gt, self.trackers = folder / "gt", folder / "trackers"
        self.results = self.trackers / "ours" / "data"
        self.gt.mkdir(parents=True)
        self.results.mkdir(parents=True)
        for name in ("a", "b"):
            for place, lines in ((self.gt, self.lines(True)), (self.results, self.lines(False))):
                (place / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))

    def lines(self, truth: bool) -> list[str]:
        if self.format.startswith("mot1"):
            tail = "1,1,1" if truth else "0.9,-1,-1,-1"
            return [
                f"{f},{i},{20 * i + f},{5 * i},10,10,{tail}"
                for f in range(1, FRAMES + 1)
                for i in (1, 2)
            ]
        first, class_id = (0, 1) if self.format == "kitti-mots" else (1, 2)
        rows = [
            mask_line(f + first, i, class_id, 12 * i + f) for f in range(FRAMES) for i in (1, 2)
        ]
        return rows + ([mask_line(first, 10000, 10, 0)] if truth else [])

    def theirs(self) -> dict[str, Any] | None:
        """None where it refuses."""
        lengths = dict.fromkeys(("a", "b"), FRAMES)
        try:
            return theirs(self.gt, self.trackers, self.format, lengths)
        except Exception:  # noqa: BLE001 - whatever it raises is a refusal
            return None

    def ours(self) -> dict[str, Any] | None:
        seqmap = self.gt.parent / "seqmap"
        seqmap.write_text("".join(f"{name} empty 0 {FRAMES - 1}\n" for name in ("a", "b")))
        try:
            report = evaluate_tracks(self.gt, self.results, format=self.format, seqmap=seqmap)
        except (ConfigError, SourceError):
            return None
        return {name: rows["COMBINED"] for name, rows in report.classes.items()}


def mask_line(frame: int, track: int, class_id: int, x: int, width: int = 8, side: int = 20) -> str:
    dense = np.zeros((side, 60), np.uint8, order="F")
    dense[2:12, x : x + width] = 1
    return f"{frame} {track} {class_id} {side} 60 {coco_mask.encode(dense)['counts'].decode()}"


def replaced(old: str, new: str) -> Any:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def columns(count: int, every: bool = True) -> Any:
    def change(text: str) -> str:
        sign = "," if "," in text else " "
        rows = text.splitlines()
        cut = [sign.join(row.split(sign)[:count]) for row in rows]
        return "\n".join(cut if every else [cut[0], *rows[1:]]) + "\n"

    return change


def doubled(text: str) -> str:
    return text + text.splitlines()[0] + "\n"


BOXES: dict[str, tuple[str, Any]] = {
    "id twice in a frame": ("results", doubled),
    "id twice in a frame of the truth": ("gt", doubled),
    "no identities": ("results", lambda text: text.replace(",1,", ",-1,").replace(",2,", ",-1,")),
    "six columns": ("results", columns(6)),
    "two columns": ("results", columns(2)),
    "seven columns in the truth": ("gt", columns(7)),
    "six columns in the truth": ("gt", columns(6)),
    "lines of two lengths in a frame": ("results", columns(8, every=False)),
    "lines of two lengths in the truth": ("gt", columns(8, every=False)),
    "frame 0": ("results", replaced("1,1,", "0,1,")),
    "frame beyond the end": ("results", replaced("4,1,", "5,1,")),
    "frame of the truth beyond the end": ("gt", replaced("4,1,", "5,1,")),
    "class of no pedestrian": ("results", replaced("0.9,-1,-1", "0.9,3,-1")),
    "text in a column": ("results", replaced("0.9", "much")),
    "text in the last column": ("results", replaced("-1,-1,-1", "-1,-1,x")),
    "an empty column": ("results", replaced("0.9,-1,-1", "0.9,,-1")),
    "a blank line": ("results", lambda text: text.replace("\n", "\n\n", 1)),
    "a blank line at the end": ("results", lambda text: text + "\n"),
    "nothing but a blank line": ("results", lambda text: "\n"),
    "prose": ("results", lambda text: "this is no result\n"),
    "bytes": ("results", lambda text: "\x00\x01\x02\n"),
}
MASKS: dict[str, tuple[str, Any]] = {
    "id twice in a frame": (
        "results",
        lambda text: text + mask_line(int(text[0]), 1, int(text.split()[2]), 45, 5) + "\n",
    ),
    "id twice in two classes": (
        "results",
        lambda text: text + mask_line(int(text[0]), 1, 3 - int(text.split()[2]), 45, 5) + "\n",
    ),
    "id twice in the truth": (
        "gt",
        lambda text: text + mask_line(int(text[0]), 1, int(text.split()[2]), 45, 5) + "\n",
    ),
    "id twice in class 10 of the result": (
        "results",
        lambda text: (
            text
            + mask_line(int(text[0]), 7, 10, 45, 3)
            + "\n"
            + mask_line(int(text[0]), 7, 10, 50, 3)
            + "\n"
        ),
    ),
    "masks that overlap": (
        "results",
        lambda text: text + mask_line(int(text[0]), 3, int(text.split()[2]), 14) + "\n",
    ),
    "masks that overlap over classes": ("results", lambda t: t + mask_line(int(t[0]), 3, 10, 14)),
    "masks of the truth that overlap": (
        "gt",
        lambda text: text + mask_line(int(text[0]), 3, int(text.split()[2]), 14) + "\n",
    ),
    "truth in an ignored region": ("gt", lambda text: text + mask_line(int(text[0]), 9, 10, 14)),
    "five columns": ("results", columns(5)),
    "five columns in the truth": ("gt", columns(5)),
    "frame beyond the end": ("results", lambda text: text + mask_line(5, 1, 2, 12) + "\n"),
    "frame of the truth beyond the end": ("gt", lambda text: text + mask_line(5, 1, 2, 12)),
    "text for a number": ("results", lambda text: text.replace(" 20 60 ", " high 60 ", 1)),
    "no number for an id": ("results", lambda text: text.replace(" 1 ", " one ", 1)),
    "a blank line": ("results", lambda text: text.replace("\n", "\n\n", 1)),
    "commas": ("results", lambda text: text.replace(" ", ",")),
}


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_right_is_judged_alike(tmp_path: Path, format: str) -> None:
    case = Case(tmp_path, format)
    judged, expected = case.ours(), case.theirs()
    assert judged is not None
    assert expected is not None
    for name, scores in judged.items():
        if scores["TP"] + scores["FN"]:
            assert scores["HOTA"] == pytest.approx(float(expected[name]["HOTA"]["HOTA"].mean()))
            assert scores["MOTA"] == pytest.approx(float(expected[name]["CLEAR"]["MOTA"]))


@pytest.mark.parametrize("format", FORMATS)
def test_a_sequence_without_a_result_is_refused(tmp_path: Path, format: str) -> None:
    case = Case(tmp_path, format)
    (case.results / "b.txt").unlink()
    assert case.theirs() is None
    with pytest.raises(ConfigError, match=r"has no result for 1 of 2 sequences: b; where nothing"):
        evaluate_tracks(case.gt, case.results, format=format)
    assert case.ours() is None


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_result_is_one_in_which_nothing_was_found(tmp_path: Path, format: str) -> None:
    case = Case(tmp_path, format)
    (case.results / "b.txt").write_text("")
    judged, expected = case.ours(), case.theirs()
    assert judged is not None
    assert expected is not None
    name = {"kitti-mots": "car"}.get(format, "pedestrian")
    assert judged[name]["FN"] == expected[name]["CLEAR"]["CLR_FN"] == 2 * FRAMES


@pytest.mark.parametrize(
    ("format", "kind"),
    [(format, kind) for format in ("mot17", "mot15") for kind in BOXES]
    + [(format, kind) for format in ("kitti-mots", "mots") for kind in MASKS],
)
def test_what_trackeval_refuses_is_refused(tmp_path: Path, format: str, kind: str) -> None:
    case = Case(tmp_path, format)
    where, change = (BOXES if format in ("mot17", "mot15") else MASKS)[kind]
    file = (case.gt if where == "gt" else case.results) / "b.txt"
    file.write_text(change(file.read_text()))
    assert case.theirs() is None, "the oracle takes it"
    assert case.ours() is None


def test_a_class_the_benchmark_does_not_have_is_refused_where_it_is_met(tmp_path: Path) -> None:
    for format, refused in (("mot17", True), ("mot15", False)):
        case = Case(tmp_path / format, format)
        file = case.gt / "b.txt"
        file.write_text(file.read_text().replace("1,1,1\n", "1,77,1\n", 1))
        assert (case.theirs() is None) == refused
        assert (case.ours() is None) == refused


@pytest.mark.parametrize("format", FORMATS)
def test_whatever_is_changed_at_random_no_figure_stands_where_theirs_does_not(
    tmp_path: Path, format: str
) -> None:
    rng = np.random.default_rng(5)
    judged = 0
    for attempt in range(60):
        case = Case(tmp_path / str(attempt), format)
        file = (case.gt, case.results)[int(rng.integers(2))] / "b.txt"
        lines = file.read_text().splitlines()
        at = int(rng.integers(len(lines)))
        sign = "," if "," in lines[at] else " "
        cells = lines[at].split(sign)
        cell = int(rng.integers(len(cells)))
        match int(rng.integers(4)):
            case 0:
                cells[cell] = str(rng.choice(["", "0", "-1", "1", "2", "9", "1.5", "x", "10"]))
            case 1:
                del cells[cell]
            case 2:
                lines.append(lines[at])
            case 3:
                lines.insert(at, "")
        lines[at] = sign.join(cells)
        file.write_text("\n".join(lines) + "\n")
        if (ours := case.ours()) is not None:  # only then: theirs may run for ever on bad masks
            judged += 1
            expected = case.theirs()
            assert expected is not None, f"{file.name}: {lines[at]}"
            for name, scores in ours.items():
                if scores["TP"]:
                    assert scores["MOTA"] == pytest.approx(float(expected[name]["CLEAR"]["MOTA"]))
    assert 3 < judged < 50


def test_masks_of_two_sizes_cannot_be_compared(tmp_path: Path) -> None:
    case = Case(tmp_path, "kitti-mots")
    result = case.results / "b.txt"
    result.write_text(result.read_text() + mask_line(0, 3, 1, 45, 5, 24) + "\n")
    with pytest.raises(SourceError, match=r"line 9: a mask of 60x24 pixels .* others have 60x20"):
        evaluate_tracks(case.gt, case.results, format="kitti-mots")


# ---- which sequences


def test_a_sequence_map_names_what_is_judged(tmp_path: Path) -> None:
    case = Case(tmp_path, "mot17")
    (case.results / "b.txt").unlink()
    seqmap = tmp_path / "some.txt"
    seqmap.write_text("name\na\n")
    report = evaluate_tracks(case.gt, case.results, format="mot17", seqmap=seqmap)
    assert set(report.classes["pedestrian"]) == {"a", "COMBINED"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nc\n", r"has neither c\.txt nor c/gt/gt\.txt"),
        ("name\n", "names no sequence"),
        ("a empty 0 last\n", "no sequence map"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_sequence_map_that_leads_nowhere_is_refused(
    tmp_path: Path, text: str | None, message: str
) -> None:
    case = Case(tmp_path, "mot17")
    seqmap = tmp_path / "map.txt"
    if text is not None:
        seqmap.write_text(text)
    with pytest.raises(ConfigError, match=message):
        evaluate_tracks(case.gt, case.results, format="mot17", seqmap=seqmap)


def test_the_length_of_a_sequence_is_read_beside_its_truth(tmp_path: Path) -> None:
    case = Case(tmp_path, "mot17")
    for name in ("a", "b"):
        inside = case.gt / name / "gt" / "gt.txt"
        inside.parent.mkdir(parents=True)
        (case.gt / f"{name}.txt").rename(inside)
        (case.gt / name / "seqinfo.ini").write_text("[Sequence]\nseqLength=4\n")
    evaluate_tracks(case.gt, case.results, format="mot17")
    result = case.results / "b.txt"
    result.write_text(result.read_text().replace("4,1,", "5,1,"))
    with pytest.raises(SourceError, match=r"frame 5 is outside of the sequence, .* 1 to 4"):
        evaluate_tracks(case.gt, case.results, format="mot17")
    (case.gt / "b" / "seqinfo.ini").write_text("[Sequence]\n")
    with pytest.raises(ConfigError, match="has no seqLength"):
        evaluate_tracks(case.gt, case.results, format="mot17")
