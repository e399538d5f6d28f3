"""A position of another version is refused by name, before anything is cut back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.runtime import Serving
from pipeline.sinks import open_sink
from pipeline.stages import Sink
from pipeline.stream import Checkpoint, Drain, End, Stream
from pipeline.testing import ListSink, ScriptedSource, make_frames
from pipeline.tracking import make_tracker

MakeStream = Callable[..., Stream]

SINKS = {
    "jsonl": "jsonl:a.jsonl",
    "coco": "coco:a.json",
    "mots": "mots:a.txt",
    "events": "events:a.jsonl",
    "video": "video:a.mp4",
    "frames": "frames:a/",
    "chosen": "jsonl:a.jsonl?min_score=0.1",
}


def run(make_stream: MakeStream, url: str, *, live: bool, until: int | None = None) -> End:
    """To the end, or until a frame; beside a file that is the first to be cut back."""
    local = Serving(lambda: BlobSegmenter(), max_batch=1, max_wait_s=0.0)
    given: dict[str, Any] = {"source_id": "cam", "run": "run", "labels": {}, "overwrite": True}
    first, second = (open_sink(one, **given) for one in ("mots:first.txt", url))
    stopping = ListSink(
        on_write=lambda result: stream.obey(Drain("enough")) if result.index == until else None
    )
    sinks: list[Sink] = [first, second, stopping]
    stream = make_stream(
        ScriptedSource(make_frames(6), live=live),
        sinks,
        segmenter=local,
        tracker=make_tracker(class_names=local.info.labels),
        checkpoint=Checkpoint(Path("cam.json"), run="run", source_id="cam"),
        buffer=9,
    )
    try:
        return stream.run()
    finally:
        local.close()


def content() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize("live", [True, False], ids=["camera", "file"])
@pytest.mark.parametrize("url", SINKS.values(), ids=list(SINKS))
def test_whatever_is_missing_of_a_position_nothing_is_cut_and_it_is_one_line(
    make_stream: MakeStream,
    url: str,
    live: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(make_stream, url, live=live, until=3).exit_code == 0
    state = json.loads(Path("cam.json").read_text())
    position = state["sinks"]["s1"]
    assert position
    for missing in position.keys() - {"path"}:
        left = {name: value for name, value in position.items() if name != missing}
        changed = {**state, "sinks": {**state["sinks"], "s1": left}}
        Path("cam.json").write_text(json.dumps(changed))
        before = content()
        end = run(make_stream, url, live=live)
        assert "cannot be resumed" in (end.outcome.reason or ""), missing
        assert (end.exit_code, content()) == (2, before), missing
    assert caplog.text == ""  # no traceback
    Path("cam.json").write_text(json.dumps(state))
    assert run(make_stream, url, live=live).exit_code == 0
