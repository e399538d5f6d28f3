"""The same failure of a source ends the same way in one process and on workers."""

from collections.abc import Callable

import pytest

from pipeline.accounting import StreamAccount
from pipeline.errors import ConfigError, MaskstreamError, ModelError, SinkError, SourceError
from pipeline.plan import SourcePlan, StreamPlan
from pipeline.render.pictures import make_picture
from pipeline.runtime import StreamThread
from pipeline.stages import ModelInfo
from pipeline.stream import End, RunSummary, Stream, StreamSettings
from pipeline.testing import ListSink, ManualSegmenter, ScriptedSource
from workers.stream import Pool, StreamWorker

INFO = ModelInfo("blob", {1: "red"}, "")
PATIENCE_S = 10.0


def in_one_process(make: Callable[[StreamAccount], Stream]) -> End:
    thread = StreamThread("cam", make)
    thread.start()
    assert thread.join(PATIENCE_S)
    return thread.result()


def on_workers(make: Callable[[StreamAccount], Stream]) -> End:
    worker = StreamWorker(
        streams=[StreamPlan(source=SourcePlan(id="cam", url="cam.mp4"))],
        build=lambda plan, segmenter, account: make(account),
        connect=lambda address: lambda call, pictures: pytest.fail("nothing to send"),
        max_batch=4,
        max_wait_s=0.0,
    )
    worker.begin(INFO, Pool({}, {}), {"cam": ()})
    assert worker._streams["cam"].thread.join(PATIENCE_S)
    return worker.report(Pool({}, {})).ends["cam"]


FAILURES = [
    pytest.param(SourceError("a.mp4: not a video"), 2, id="source"),
    pytest.param(ConfigError("include: two points make no polygon"), 2, id="setting"),
    pytest.param(ModelError("weights.pth: no such file"), 2, id="weights"),
    pytest.param(SinkError("out: not a directory"), 1, id="sink"),
    pytest.param(PermissionError(13, "Permission denied", "out"), 1, id="no-permission"),
    pytest.param(MaskstreamError("the disk has gone"), 1, id="machine"),
    pytest.param(ValueError("never thought\nof that"), 1, id="bug"),
]


@pytest.mark.parametrize(("error", "exit_code"), FAILURES)
def test_what_fails_before_the_stream_begins_ends_the_same_way_everywhere(
    error: Exception, exit_code: int
) -> None:
    def make(account: StreamAccount) -> Stream:
        raise error

    ends = [in_one_process(make), on_workers(make)]

    assert ends[0] == ends[1]
    assert [RunSummary((end,)).exit_code for end in ends] == [exit_code] * 2
    assert ends[0].outcome.reason is not None
    assert "\n" not in ends[0].outcome.reason


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        pytest.param(SourceError("a.mp4: the rest cannot be read"), 2, id="source"),
        pytest.param(ValueError("never thought of that"), 1, id="bug"),
    ],
)
def test_what_fails_while_the_source_is_read_ends_the_same_way_everywhere(
    error: Exception, exit_code: int
) -> None:
    def fail() -> None:
        raise error

    def make(account: StreamAccount) -> Stream:
        return Stream(
            ScriptedSource([fail], source_id="cam"),
            ManualSegmenter(info=INFO),
            tracker=None,
            camera=None,
            sinks=[("list", ListSink())],
            run="r",
            settings=StreamSettings(window=8, buffer=2),
            account=account,
            make_picture=make_picture,
        )

    ends = [in_one_process(make), on_workers(make)]

    assert ends[0] == ends[1]
    assert [end.exit_code for end in ends] == [exit_code] * 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit("no licence"), "SystemExit: no licence"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("\n no licence \nfor you"), "ValueError: no licence"),
    ],
)
def test_a_library_that_leaves_ends_its_stream_and_not_the_worker(
    error: BaseException, reason: str
) -> None:
    def make(account: StreamAccount) -> Stream:
        raise error

    ends = [in_one_process(make), on_workers(make)]

    assert ends[0] == ends[1]
    assert (ends[0].exit_code, ends[0].bug) == (1, reason)
