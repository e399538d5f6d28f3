"""Other sinks while a run goes on: each gets every frame that is its own, and no other."""

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.accounting import SinkCounts
from pipeline.errors import ConfigError, SinkError
from pipeline.plan import SinkPlan, StreamPlan
from pipeline.runtime.changes import NeedsNewStart
from pipeline.stream.commands import Adjust

FIRST, SECOND = 9, 21


@pytest.fixture
def before(going: Any, tmp_path: Path) -> Sequence[SinkPlan]:
    """A camera that waits before frame `FIRST`, with two files as sinks."""
    sinks = (planned(tmp_path, "kept", "jsonl"), planned(tmp_path, "old", "jsonl-2"))
    going.live, going.hold = {"a"}, {"a": FIRST}
    as_camera = going.planned
    going.planned = lambda one: replace(as_camera(one), sinks=sinks)
    going.begin("a")
    going.until(lambda: going.counts("a").published == FIRST)
    return sinks


def planned(folder: Path, name: str, called: str = "jsonl") -> SinkPlan:
    path = str(folder / f"{name}.jsonl")
    return SinkPlan(name=called, url=f"jsonl:{path}", path=path)


def asked(going: Any, *sinks: SinkPlan) -> StreamPlan:
    (now,) = going.control.streams()
    return replace(now, sinks=sinks)


def frames(sink: SinkPlan) -> list[int]:
    assert sink.path is not None
    *records, end = [json.loads(line) for line in Path(sink.path).read_text().splitlines()]
    assert end["schema"] == "maskstream.end/1"
    return [one["frame"] for one in records]


def go_on_to(going: Any, frame: int) -> None:
    """Let the camera go on, and wait before this frame."""
    going.hold["a"], passed = frame, going.may_go["a"]
    going.may_go["a"] = threading.Event()
    passed.set()


def test_a_new_sink_begins_with_the_frame_that_is_named_and_one_that_left_ends_before(
    going: Any, before: Sequence[SinkPlan], tmp_path: Path
) -> None:
    kept, old = before
    new, last = planned(tmp_path, "new"), planned(tmp_path, "last")
    assert going.control.change(asked(going, new, kept)) == 1
    go_on_to(going, SECOND)
    going.until(lambda: going.counts("a").published == SECOND)
    assert going.counts("a").changed == (1, 0, FIRST)
    going.until(lambda: going.counts("a").sinks.keys() == {"list", "jsonl", "jsonl-3"})
    assert [sink.name for sink in going.control.streams()[0].sinks] == ["jsonl-3", "jsonl"]
    assert going.control.change(asked(going, kept, last)) == 2
    going.may_go["a"].set()
    (end,) = going.end()
    assert (end.exit_code, end.counts.changed) == (0, (2, 0, SECOND))
    total = going.lab.frames
    assert end.counts.sinks["jsonl"] == SinkCounts(offered=total, delivered=total)
    left = total - SECOND
    assert end.counts.sinks["jsonl-4"] == SinkCounts(offered=left, delivered=left)
    assert end.counts.balanced()
    assert frames(kept) == going.machines.sinks["a"][0].indices == list(range(total))
    assert frames(old) == list(range(FIRST))
    assert frames(new) == list(range(FIRST, SECOND))
    assert frames(last) == list(range(SECOND, total))


def test_a_sink_that_cannot_be_opened_leaves_all_as_it_was(
    going: Any, before: Sequence[SinkPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import sinks

    def refuse(url: str, **_: Any) -> Any:
        raise SinkError(f"{url}: nobody is there")

    there = planned(tmp_path, "there")
    (tmp_path / "there.jsonl").write_text("somebody's\n")
    with pytest.raises(ConfigError, match=r"^source a: .*there.jsonl exists already; use --over"):
        going.control.change(asked(going, *before, there))
    monkeypatch.setattr(sinks, "open_sink", refuse)
    new = planned(tmp_path, "new")
    with pytest.raises(
        ConfigError, match=r"^stream a: .*new.jsonl: nobody is there; it goes on as"
    ):
        going.control.change(replace(asked(going, new), classes=("person",)))
    assert going.control.streams()[0].sinks == before
    going.may_go["a"].set()
    (end,) = going.end()
    assert end.counts.sinks.keys() == {"list", "jsonl", "jsonl-2"}
    assert frames(before[0]) == frames(before[1]) == list(range(going.lab.frames))
    assert (tmp_path / "there.jsonl").read_text() == "somebody's\n"
    assert not Path(new.path or "").exists()


@pytest.mark.parametrize("url", ["jsonl:{}?masks=boxes", "jsonl:{}"])
def test_what_writes_the_same_file_in_another_manner_is_no_change(
    going: Any, before: Sequence[SinkPlan], url: str
) -> None:
    kept, old = before
    other = replace(old, url=url.format(old.path), min_score=0.9)
    with pytest.raises(ConfigError, match=r"would write the file that jsonl:.*old.jsonl writes"):
        going.control.change(asked(going, kept, other))
    going.may_go["a"].set()
    going.end()


def test_a_camera_that_is_over_begins_anew_with_other_sinks(
    going: Any, before: Sequence[SinkPlan], tmp_path: Path
) -> None:
    going.control._stay = True
    going.may_go["a"].set()
    going.until(lambda: going.counts("a").state == "ended")
    with pytest.raises(NeedsNewStart, match=r"^stream a: its sinks cannot change, it is over$"):
        going.control.change(asked(going, *before, planned(tmp_path, "new")))
    going.stop.set()
    going.end()


@pytest.mark.parametrize("going", ["supervisor"], indirect=True)
def test_a_worker_that_dies_after_a_change_is_followed_by_one_with_the_new_sinks(
    going: Any, before: Sequence[SinkPlan], tmp_path: Path
) -> None:
    new = planned(tmp_path, "new")
    going.control.change(asked(going, new))
    built: list[StreamPlan] = []
    build = going.machines.build
    going.machines.build = lambda plan, *more: built.append(plan) or build(plan, *more)
    going.machines.streams[0].kill()
    going.until(lambda: built)
    assert [sink.url for sink in built[0].sinks] == [new.url]
    (adjust,) = going.control._slots[0]._told["a"]
    assert isinstance(adjust, Adjust)
    assert adjust.sinks == built[0].sinks
