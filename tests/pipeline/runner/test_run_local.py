"""All sources in one process: each to its end, none in another's way."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import assemble
from pipeline.config import Settings, parse
from pipeline.errors import ConfigError, ModelError, SegmentFailed
from pipeline.instances import Instances
from pipeline.metrics.counts import RunCounts
from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.plan.resolve import resolve
from pipeline.runner import local, run_local
from pipeline.stages import Status
from pipeline.stream import Command, Stream

MakePictures = Callable[..., Path]


def settings_of(out: Path, *sources: tuple[str, Path | str], **sections: Any) -> Settings:
    return parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": id_, "url": str(url)} for id_, url in sources],
            "sinks": [f"jsonl:{out}/{{source}}.jsonl"],
            "workers": {"max_batch": 4, "max_wait_ms": 0},
            **sections,
        }
    )


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The models that were loaded; all must be closed in the end."""
    models: list[Any] = []

    class Closing(BlobSegmenter):
        closed = False

        def close(self) -> None:
            self.closed = True

    def load(*_: Any, **__: Any) -> Closing:
        models.append(Closing())
        return models[-1]

    monkeypatch.setattr(assemble, "build_segmenter", load)
    return models


def test_two_sources_run_side_by_side_and_do_not_disturb_each_other(
    make_pictures: MakePictures, tmp_path: Path, loaded: list[Any]
) -> None:
    one, two = make_pictures("one", 9), make_pictures("two", 14)
    summary = run_local(resolve(settings_of(tmp_path / "both", ("one", one), ("two", two))))
    assert summary.exit_code == 0
    assert [(e.source_id, e.counts.published) for e in summary.ends] == [("one", 9), ("two", 14)]
    alone = run_local(resolve(settings_of(tmp_path / "alone", ("two", two))))
    assert alone.exit_code == 0
    together = (tmp_path / "both" / "two.jsonl").read_bytes()
    assert together == (tmp_path / "alone" / "two.jsonl").read_bytes()
    lines = records(tmp_path / "both" / "one.jsonl")
    assert [line["frame"] for line in lines[:-1]] == list(range(9))
    assert lines[-1]["outcome"] == "complete"
    assert [model.closed for model in loaded] == [True, True]


def test_one_unreadable_source_is_told_after_the_others_have_finished(
    make_pictures: MakePictures, tmp_path: Path, loaded: list[Any]
) -> None:
    good = make_pictures("good", 5)
    (tmp_path / "text.mp4").write_text("no video")
    settings = settings_of(
        tmp_path / "out",
        ("text", tmp_path / "text.mp4"),
        ("good", good),
        ("gone", tmp_path / "gone.mp4"),
    )
    summary = run_local(resolve(settings))
    assert [e.outcome.status for e in summary.ends] == [
        Status.FAILED, Status.COMPLETE, Status.FAILED,
    ]  # fmt: skip
    assert summary.exit_code == 2
    assert summary.ends[1].counts.published == 5
    for end in (summary.ends[0], summary.ends[2]):
        assert end.outcome.reason is not None
        assert "\n" not in end.outcome.reason
        assert not (tmp_path / "out" / f"{end.source_id}.jsonl").exists()  # nothing in the way


def test_a_stop_publishes_what_was_captured_and_ends_well(
    make_pictures: MakePictures, tmp_path: Path, loaded: list[Any]
) -> None:
    stop = threading.Event()
    stop.set()
    settings = settings_of(tmp_path / "out", ("a", make_pictures("a", 30)))
    summary = run_local(resolve(settings), stop=stop)
    assert summary.ends[0].stopped
    assert summary.ends[0].counts.balanced()
    assert summary.exit_code == 0
    lines = records(tmp_path / "out" / "a.jsonl")
    assert len(lines) == summary.ends[0].counts.published + 1


def test_an_abort_leaves_nothing_running(
    make_pictures: MakePictures, tmp_path: Path, loaded: list[Any]
) -> None:
    before = set(threading.enumerate())
    abort = threading.Event()
    abort.set()
    settings = settings_of(tmp_path / "out", ("a", make_pictures("a", 30)))
    summary = run_local(resolve(settings), abort=abort)
    assert summary.ends[0].counts.balanced()
    assert set(threading.enumerate()) <= before
    assert loaded[0].closed


def test_progress_is_told_at_the_end_at_least(
    make_pictures: MakePictures, tmp_path: Path, loaded: list[Any]
) -> None:
    told: list[RunCounts] = []
    settings = settings_of(tmp_path / "out", ("a", make_pictures("a", 6)))
    run_local(resolve(settings), on_progress=told.append)
    last = told[-1]
    assert (last.streams[0].published, last.streams[0].state) == (6, "ended")
    assert last.workers[0].frames == 6
    assert all(counts.streams[0].balanced() for counts in told)


def test_frames_the_model_cannot_do_make_the_run_fail(
    make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Picky(BlobSegmenter):
        def segment(self, images: Any) -> list[Instances]:
            raise SegmentFailed("out_of_memory", "the picture needs 9 GB, there are 8")

    monkeypatch.setattr(assemble, "build_segmenter", lambda *_, **__: Picky())
    settings = settings_of(tmp_path / "out", ("a", make_pictures("a", 3)))
    summary = run_local(resolve(settings))
    assert summary.ends[0].counts.failed == {"out_of_memory": 3}
    assert summary.exit_code == 1


def test_what_is_wrong_with_the_run_is_said_before_the_model_is_loaded(
    make_pictures: MakePictures, tmp_path: Path, loaded: list[Any]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.jsonl").write_text("precious")
    with pytest.raises(ConfigError, match="exists already"):
        run_local(resolve(settings_of(out, ("a", make_pictures("a", 3)))))
    assert loaded == []
    assert (out / "a.jsonl").read_text() == "precious"


def test_a_model_that_cannot_be_loaded_starts_nothing(
    make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ModelError("weights x.pth: no such file")

    monkeypatch.setattr(assemble, "build_segmenter", refuse)
    before = set(threading.enumerate())
    with pytest.raises(ModelError, match=r"x\.pth"):
        run_local(resolve(settings_of(tmp_path / "out", ("a", make_pictures("a", 3)))))
    assert set(threading.enumerate()) <= before


def test_a_stopped_run_is_resumed_to_the_same_bytes(
    make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = make_pictures("a", 40)
    run_local(resolve(settings_of(tmp_path / "whole", ("a", pictures))))
    kept = {"run": {"state_dir": str(tmp_path / "state")}}
    settings = settings_of(tmp_path / "out", ("a", pictures), **kept)
    stop, stopped = threading.Event(), threading.Event()

    class Stopping(BlobSegmenter):
        def segment(self, images: Any) -> list[Instances]:
            stop.set()
            stopped.wait()
            return super().segment(images)

    def obey(stream: Stream, command: Command) -> None:
        obeying(stream, command)
        stopped.set()

    obeying = Stream.obey
    with monkeypatch.context() as patch:
        patch.setattr(assemble, "build_segmenter", lambda *_, **__: Stopping())
        patch.setattr(Stream, "obey", obey)
        first = run_local(resolve(settings), stop=stop)
    assert (first.exit_code, first.ends[0].stopped) == (0, True)
    assert 0 < first.ends[0].counts.published < 40
    second = run_local(resolve(settings))
    assert second.ends[0].counts.published == 40
    whole = (tmp_path / "whole" / "a.jsonl").read_bytes()
    assert (tmp_path / "out" / "a.jsonl").read_bytes() == whole
    again = run_local(resolve(settings))  # complete already: nothing is done, nothing refused
    assert again.exit_code == 0
    assert (tmp_path / "out" / "a.jsonl").read_bytes() == whole


@pytest.mark.parametrize("told", ["stop", "abort"])
def test_a_run_told_to_end_does_not_wait_for_its_model(
    make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    go_on, event = threading.Event(), threading.Event()

    def load(*_: Any, **__: Any) -> BlobSegmenter:
        event.set()  # told while it loads
        go_on.wait()
        return BlobSegmenter()

    monkeypatch.setattr(assemble, "build_segmenter", load)
    monkeypatch.setattr(local, "LEFT_AFTER_S", 0.0)
    plan = resolve(settings_of(tmp_path / "out", ("a", make_pictures("a", 3))))
    (end,) = run_local(plan, **{told: event}).ends
    go_on.set()
    assert (end.outcome.reason, end.stopped, end.exit_code) == ("stopped before it began", True, 0)
    assert not (tmp_path / "out").exists()
