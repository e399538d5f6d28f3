"""The kit of sinks: ours pass, and which promise was broken by one that does not."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.formats.selected import Selection
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks import open_sink
from pipeline.sinks.files import OutputFile
from pipeline.sinks.function import FunctionSink
from pipeline.sinks.jsonl import JsonlSink
from pipeline.sinks.schemes import SinkTarget
from pipeline.sources import open_source
from pipeline.stages import Sink
from pipeline.testing import (
    ListSink,
    check_sink,
)

LABELS = {1: "red"}


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("jsonl:{folder}/cam.jsonl", "*.jsonl"),
        ("coco:{folder}/cam.json", "*.json"),
        ("mots:{folder}/cam.txt", "*.txt"),
        ("frames:{folder}/pictures?format=png", "pictures/*.png"),
        ("jsonl:{folder}/cam.jsonl?min_score=0.5", "*.jsonl"),
    ],
)
def test_the_sinks_pass(url: str, pattern: str, tmp_path: Path) -> None:
    def opened(folder: Path, overwrite: bool) -> Sink:
        return open_sink(
            url.format(folder=folder),
            source_id="cam",
            run="check",
            labels=LABELS,
            overwrite=overwrite,
        )

    def content(folder: Path) -> object:
        return {path.name: path.read_bytes() for path in sorted(folder.glob(pattern))}

    check_sink(opened, content, tmp_path)


def test_the_sink_of_events_passes(tmp_path: Path) -> None:
    def opened(folder: Path, overwrite: bool) -> Sink:
        url = f"events:{folder}/cam.jsonl"
        return open_sink(url, source_id="cam", run="r", labels=LABELS, overwrite=overwrite)

    def content(folder: Path) -> object:
        """Which tracks began and ended; what was seen last before a kill only the dead one knew."""
        lines = [json.loads(line) for line in (folder / "cam.jsonl").read_text().splitlines()]
        return [(line.get("event"), line.get("id"), line.get("reason")) for line in lines]

    check_sink(opened, content, tmp_path)


def test_the_video_sink_passes(tmp_path: Path) -> None:
    def opened(folder: Path, overwrite: bool) -> Sink:
        url = f"video:{folder}/cam.mp4"
        return open_sink(url, source_id="cam", run="r", labels=LABELS, overwrite=overwrite)

    def content(folder: Path) -> object:
        frames = open_source(f"{folder}/cam.mp4", source_id="cam").frames()
        return [(frame.index, round(frame.pts_s, 3), frame.size) for frame in frames]

    check_sink(opened, content, tmp_path)


def test_a_function_passes(tmp_path: Path) -> None:
    called: dict[Path, dict[str, int]] = {}

    def opened(folder: Path, overwrite: bool) -> Sink:
        keys = called.setdefault(folder, {})
        return FunctionSink(lambda result: keys.update({result.key: result.index}))

    check_sink(opened, lambda folder: called[folder], tmp_path)


class Torn(ListSink):
    """Goes on behind what it wrote last, whatever position it is given."""

    def resume(self, position: Any) -> None:
        self._began = True


def test_a_sink_that_does_not_cut_back_is_found(tmp_path: Path) -> None:
    sinks: dict[Path, Torn] = {}

    def opened(folder: Path, overwrite: bool) -> Sink:
        left = sinks[folder].results if overwrite else []
        sinks[folder] = Torn(results=left)
        return sinks[folder]

    with pytest.raises(AssertionError, match="cut off after frame 9, resumed at 5"):
        check_sink(opened, lambda folder: sinks[folder].indices, tmp_path)


def test_a_sink_that_blocks_is_found(tmp_path: Path) -> None:
    import time

    class Slow(ListSink):
        def write(self, result: FrameResult, picture: Picture) -> None:
            time.sleep(0.05)

    with pytest.raises(AssertionError, match=r"write\(\) of frame 0 took"):
        check_sink(lambda *_: Slow(), lambda _: None, tmp_path, answers_within_s=0.01)


class Unwritten(ListSink):
    """Says that it stands where it will only be once it is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.lines = path.read_text().splitlines() if path.exists() else []

    def write(self, result: FrameResult, picture: Picture) -> None:
        self.lines.append(str(result.index))

    def flush(self) -> dict[str, int]:
        return {"count": len(self.lines)}

    def resume(self, position: Any) -> None:
        del self.lines[position["count"] :]

    def close(self) -> None:
        self.path.write_text("\n".join(self.lines))


def test_a_sink_that_writes_only_when_it_is_closed_is_found(tmp_path: Path) -> None:
    def content(folder: Path) -> object:
        return (folder / "lines").read_text()

    with pytest.raises(AssertionError, match="cut off after frame 1, resumed at 1"):
        check_sink(lambda folder, _: Unwritten(folder / "lines"), content, tmp_path)


def file_in(folder: Path, overwrite: bool) -> OutputFile:
    path = str(folder / "x.jsonl")
    return OutputFile(SinkTarget("jsonl", path, str(folder), {}, "cam", "r", {}, None, overwrite))


def test_a_sink_that_changes_something_when_it_is_asked_is_found(tmp_path: Path) -> None:
    class Eager(JsonlSink):
        def check_resume(self, position: Any) -> None:
            self.resume(position)

    def opened(folder: Path, overwrite: bool) -> Sink:
        return Eager(file_in(folder, overwrite), Selection())

    with pytest.raises(AssertionError, match=r"check_resume\(\) changed what is there"):
        check_sink(opened, lambda folder: (folder / "x.jsonl").read_bytes(), tmp_path)


def test_a_sink_that_cuts_back_what_it_should_keep_is_found(tmp_path: Path) -> None:
    class Thrifty(JsonlSink):
        def resume_keeping(self, position: Any) -> None:
            self.resume(position)

    def opened(folder: Path, overwrite: bool) -> Sink:
        return Thrifty(file_in(folder, overwrite), Selection())

    with pytest.raises(AssertionError, match=r"resume_keeping\(\) at 5"):
        check_sink(opened, lambda folder: (folder / "x.jsonl").read_bytes(), tmp_path)
