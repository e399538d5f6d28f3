"""`maskstream export records`: what is said, what is never written over."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.cli.main import main


class Said(NamedTuple):
    """What the shell sees."""

    code: int
    out: str
    err: str


@pytest.fixture
def export(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Run `maskstream export records ARGS...` in this process."""

    def run(*args: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["maskstream", "export", "records", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """One frame, one instance: the upper half of a picture of 2 x 2."""
    row = {"track": 4, "label": "car", "class_id": 3, "score": 0.5, "box": [0, 0, 2, 1], "area": 2}
    row["mask"] = {"size": [2, 2], "counts": [0, 1, 1, 1, 1]}
    record = {
        **{"schema": "maskstream.frame/1", "run": "r", "source": "gate", "epoch": 0, "frame": 0},
        **{"pts_s": 0.0, "captured_at": None, "width": 2, "height": 2, "model": "m"},
        "instances": [row],
    }
    path = tmp_path / "run.jsonl"
    path.write_text(json.dumps(record) + "\n")
    return path


def test_the_output_lies_beside_the_input_and_what_is_lost_is_said(
    export: Callable[..., Said], records: Path
) -> None:
    said = export(records, "--to", "mots")
    assert said.code == 0
    output = records.with_name("run.mots.txt")
    assert output.read_text() == "0 4 3 2 2 01100\n"
    assert said.out.splitlines() == [
        f"{output}: 1 frames, 1 instances, 1 tracks",
        "mots has no place for: shared pixels (the higher score keeps them), scores, boxes, times, "
        "names of classes",
    ]
    back = export(output, "--to", "jsonl", "--fps", 5, "--labels", "3=car")
    assert (back.code, back.err) == (0, "")
    first = json.loads(records.with_name("run.mots.jsonl").read_text().splitlines()[0])
    assert (first["source"], first["instances"][0]["label"]) == ("run", "car")
    assert first["instances"][0]["mask"] == {"size": [2, 2], "counts": "01100"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--to", "cocoa"], "--to cocoa: no known format, did you mean 'coco'?"),
        (["--to", "jsonl"], "--from jsonl: records are made of coco, mots, ytvis, labelstudio"),
        (["--to", "csv", "--from", "coco"], "is coco; --to csv takes records"),
        (["--to", "csv", "--output", "{in}", "--overwrite"], "over what is read, INPUT"),
        (["--to", "csv", "--output", "{link}", "--overwrite"], "over what is read, INPUT"),
        (["--to", "csv", "--output", "{old}"], "exists already; add --overwrite"),
        (["--to", "yolo", "--output", "{folder}", "--overwrite"], "is no empty folder and is not"),
        (["--to", "csv", "--output", "{folder}", "--overwrite"], "is no regular file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_touches_nothing(
    export: Callable[..., Said], records: Path, args: list[str], said: str
) -> None:
    places = {name: records.with_name(name) for name in ("old", "folder", "link")}
    places["old"].write_text("mine")
    places["folder"].mkdir()
    (places["folder"] / "photo.jpg").write_text("mine")
    places["link"].symlink_to(records)
    before = records.read_bytes()
    answer = export(records, *(arg.format(**{**places, "in": records}) for arg in args))
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert records.read_bytes() == before
    assert places["old"].read_text() == "mine"
    assert [p.name for p in places["folder"].iterdir()] == ["photo.jpg"]
    assert len(list(records.parent.iterdir())) == 4


@pytest.mark.parametrize("i", ["²", "-1", "1.5", "", "1" * 19])
def test_a_class_id_that_is_none_is_refused(
    export: Callable[..., Said], records: Path, i: str
) -> None:
    said = export(records, "--to", "mots", "--output", records.with_name("t.txt"))
    said = export(records.with_name("t.txt"), "--to", "jsonl", "--fps", 5, "--labels", f"{i}=car")
    assert (said.code, said.err) == (
        2,
        f"maskstream: --labels: must be ID=NAME,... such as 1=person,3=car, got {f'{i}=car'!r}\n",
    )


def test_labels_that_are_there_are_never_replaced(
    export: Callable[..., Said], records: Path
) -> None:
    assert export(records, "--to", "yolo").code == 0
    corrected = records.with_name("run.yolo") / "labels" / "00000000.txt"
    corrected.write_text("mine")
    said = export(records, "--to", "yolo", "--overwrite")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "run.yolo: is no empty folder and is not replaced; name another" in said.err
    assert corrected.read_text() == "mine"


def test_an_empty_folder_is_filled_where_it_may_be(
    export: Callable[..., Said], records: Path
) -> None:
    folder = records.with_name("run.yolo")
    folder.mkdir()
    assert export(records, "--to", "yolo").code == 2
    assert export(records, "--to", "yolo", "--overwrite").code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["data.yaml", "labels"]


def test_records_of_chosen_fields_are_refused(export: Callable[..., Said], records: Path) -> None:
    record = json.loads(records.read_text()) | {"schema": "maskstream.selected/1"}
    records.write_text(json.dumps(record) + "\n")
    said = export(records, "--to", "csv")
    assert (said.code, said.err) == (
        2,
        f"maskstream: {records} line 1: a record of chosen fields; whole ones are needed, run it "
        "again with a jsonl: sink without `fields` and `mask`\n",
    )
    assert [path.name for path in records.parent.iterdir()] == ["run.jsonl"]


def test_a_killed_run_is_exported_as_far_as_it_is_whole(
    export: Callable[..., Said], records: Path
) -> None:
    records.write_bytes(records.read_bytes() + b'{"schema":"maskstr')
    said = export(records, "--to", "csv")
    assert said.code == 0
    assert said.err == f"maskstream: {records} line 2: cut off, it was left out\n"


def test_a_name_of_a_picture_that_leads_out_is_refused(
    export: Callable[..., Said], records: Path
) -> None:
    record = json.loads(records.read_text()) | {"file": "../../x.png"}
    records.write_text(json.dumps(record) + "\n")
    said = export(records, "--to", "yolo")
    assert (said.code, said.err) == (
        2,
        "maskstream: frame 0: no name of a picture: '../../x.png'\n",
    )
    assert [path.name for path in records.parent.iterdir()] == ["run.jsonl"]
