"""The example of a sink of one's own works as its page says."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.errors import ConfigError
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks import check_sink, register
from pipeline.stages import Sink
from pipeline.testing import make_end

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "own_sink.py"

Open = Callable[..., Sink]
MakeResult = Callable[..., FrameResult]
MakePicture = Callable[..., Picture]


@pytest.fixture
def own_sink(schemes_restored: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_sink", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "own_sink", module)
    spec.loader.exec_module(module)
    register(module.SCHEME)
    return module


def test_it_writes_what_it_says(
    own_sink: ModuleType,
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    sink = open_for_test(f"csv:{tmp_path}/{{source}}.csv?separator=semicolon")
    sink.write(make_result(5), make_picture(5))
    sink.finish(make_end())
    sink.close()
    assert (tmp_path / "gate.csv").read_text() == (
        "frame;pts_s;track;label;score;area\n"
        "5;0.200000;7;car;0.9000;16\n"
        "5;0.200000;8;person;0.4500;36\n"
    )


def test_its_urls_are_checked_like_all_others(own_sink: ModuleType) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown option 'seperator', did you mean 'separator'\?"
    ):
        check_sink("csv:a.csv?seperator=comma")
    with pytest.raises(ConfigError, match=r"csv writes \.csv; end the path with \.csv"):
        check_sink("csv:a.txt")


def test_after_a_crash_and_a_rerun_the_bytes_are_the_same(
    own_sink: ModuleType,
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    for name, crash in (("whole", False), ("crashed", True)):
        sink = open_for_test(f"csv:{tmp_path}/{name}.csv")
        sink.write(make_result(0), make_picture(0))
        position = json.loads(json.dumps(sink.flush()))
        sink.write(make_result(1), make_picture(1))
        if crash:
            sink.close()
            sink = open_for_test(f"csv:{tmp_path}/{name}.csv", resume=position)
            sink.write(make_result(1), make_picture(1))
        sink.finish(make_end())
        sink.close()
    assert (tmp_path / "crashed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_the_example_runs_as_it_is(own_sink: ModuleType, tmp_path: Path) -> None:
    own_sink.main(str(tmp_path / "street.csv"))
    rows = (tmp_path / "street.csv").read_text().splitlines()
    assert rows[0] == "frame,pts_s,track,label,score,area"
    assert {int(row.split(",")[0]) for row in rows[1:]} <= set(range(10))
    assert len(rows) > 5
