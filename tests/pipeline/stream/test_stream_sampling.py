"""Which frames of a stream are taken at all, by time stamps alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.stream import Checkpoint, Leave, Stream
from pipeline.testing import (
    ListSink,
    ScriptedSource,
    make_frame,
    make_frames,
)

MakeStream = Callable[..., Stream]


def test_max_fps_thins_by_time_stamps_and_counts_what_is_left_out(make_stream: MakeStream) -> None:
    sink = ListSink()
    end = make_stream(ScriptedSource(make_frames(10)), [sink], max_fps=5.0).run()
    assert sink.indices == [0, 2, 4, 6, 8]
    assert end.counts.dropped == {"max_fps": 5}
    assert end.counts.captured == 10


def test_frames_the_source_did_not_even_decode_are_captured_and_thinned_out(
    make_stream: MakeStream,
) -> None:
    sink = ListSink()
    first, second = make_frame(0), make_frame(5)

    def skip(count: int) -> Callable[[], None]:
        return lambda: source.skipped.update(max_fps=source.skipped.get("max_fps", 0) + count)

    source = ScriptedSource([first, skip(4), second, skip(2)], live=True)
    end = make_stream(source, [sink], max_fps=2.0).run()
    assert sink.indices == [0, 5]
    assert (end.counts.captured, end.counts.dropped) == (8, {"max_fps": 6})
    assert end.counts.balanced()


def test_a_new_epoch_begins_with_a_frame_whatever_was_due(make_stream: MakeStream) -> None:
    frames = [*make_frames(3), make_frame(3, epoch=1, pts_s=0.0), make_frame(4, epoch=1, pts_s=0.1)]
    sink = ListSink()
    make_stream(ScriptedSource(frames), [sink], max_fps=5.0).run()
    assert [(r.epoch, r.index) for r in sink.results] == [(0, 0), (0, 2), (1, 3)]


def test_a_stride_takes_every_kth_frame_and_counts_what_it_leaves_out(
    make_stream: MakeStream,
) -> None:
    sink = ListSink()
    end = make_stream(ScriptedSource(make_frames(10)), [sink], stride=3).run()
    assert sink.indices == [0, 3, 6, 9]
    assert end.counts.dropped == {"stride": 6}
    assert end.counts.balanced()


def test_stride_and_max_fps_are_counted_apart(make_stream: MakeStream) -> None:
    sink = ListSink()
    end = make_stream(ScriptedSource(make_frames(12)), [sink], stride=2, max_fps=2.5).run()
    assert sink.indices == [0, 4, 8]
    assert end.counts.dropped == {"max_fps": 3, "stride": 6}


@pytest.mark.parametrize("cut_at", [0, 3, 6, 9, 13])
def test_an_interrupted_file_goes_on_in_the_same_step(
    make_stream: MakeStream, tmp_path: Path, cut_at: int
) -> None:
    frames = [make_frame(i, pts_s=place / 10) for i, place in enumerate([0, 1, 2, *range(4, 40)])]
    given = {"stride": 3, "max_fps": 2.5, "checkpoint_every_s": 0.0}
    whole = ListSink()
    complete = make_stream(ScriptedSource(frames), [whole], **given).run()
    checkpoint = Checkpoint(tmp_path / "cam.json", run="run", source_id="cam")
    first = ListSink(
        on_write=lambda result: stream.obey(Leave("enough")) if result.index >= cut_at else None
    )
    stream = make_stream(ScriptedSource(frames), [first], checkpoint=checkpoint, **given)
    stream.run()
    resumed = ListSink(results=first.results)
    end = make_stream(ScriptedSource(frames), [resumed], checkpoint=checkpoint, **given).run()
    assert resumed.indices == whole.indices
    assert end.counts.dropped == complete.counts.dropped
    assert end.counts.balanced()


def test_a_camera_begins_its_stride_anew_after_a_crash(
    make_stream: MakeStream, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(tmp_path / "cam.json", run="run", source_id="cam")
    for epoch in range(2):
        frames = [make_frame(1000 * epoch + i, epoch=epoch) for i in range(5)]
        sink = ListSink()
        source = ScriptedSource(frames, live=True)
        make_stream(source, [sink], checkpoint=checkpoint, stride=3).run()
        assert [index % 1000 for index in sink.indices] == [0, 3]
