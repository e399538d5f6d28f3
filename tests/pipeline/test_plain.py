"""One filter between text from outside and a terminal or a log."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from pipeline.accounting import StreamAccount
from pipeline.metrics.counts import RunCounts
from pipeline.metrics.prometheus import exposition
from pipeline.plain import plain
from pipeline.secrets import hide_in_logs


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("gate, zo\u00eb \u65e5\u672c \U0001f697", None, id="text of any script stays"),
        pytest.param("a\x1b]0;T\x07b", r"a\x1b]0;T\x07b", id="window title"),
        pytest.param("x\nERROR forged", r"x\nERROR forged", id="line break"),
        pytest.param("x\r\ty", r"x\r\ty", id="carriage return and tab"),
        pytest.param("\x7f\x80\x9b31m\x9f", r"\x7f\x80\x9b31m\x9f", id="DEL and C1"),
        pytest.param("\x85\u2028\u2029", r"\x85\u2028\u2029", id="other line breaks"),
        pytest.param("a\u202egpj.exe", r"a\u202egpj.exe", id="right to left"),
        pytest.param("\u2066\u2069\u200f", r"\u2066\u2069\u200f", id="isolates and marks"),
        pytest.param("a\u200bb\ufeff", r"a\u200bb\ufeff", id="no width"),
        pytest.param("bad\udcff.mp4", r"bad\udcff.mp4", id="bytes that are no text"),
    ],
)
def test_what_cannot_be_seen_is_shown_by_its_number(text: str, shown: str | None) -> None:
    assert plain(text) == (text if shown is None else shown)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a handler of the root logger writes, as the command sets it up."""
    before = logging.getLogRecordFactory()
    hide_in_logs()
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logging.getLogger("pipeline").addHandler(handler)
    yield written
    logging.getLogger("pipeline").removeHandler(handler)
    logging.setLogRecordFactory(before)


def test_a_name_cannot_forge_a_line_of_the_log(log: io.StringIO) -> None:
    logging.getLogger("pipeline.x").warning("%s: lost", "a\nERROR forged\x1b[2J")
    assert log.getvalue() == "WARNING a\\nERROR forged\\x1b[2J: lost\n"


def test_a_traceback_cannot_move_the_cursor(log: io.StringIO) -> None:
    try:
        raise ValueError("\x1b[2Jgone")
    except ValueError:
        logging.getLogger("pipeline.x").exception("failed")
    assert "\x1b" not in log.getvalue()
    assert log.getvalue().endswith("ValueError: \\x1b[2Jgone\n")


def test_a_cause_cannot_forge_a_line_of_the_metrics() -> None:
    account = StreamAccount("a\u2028b")
    account.captured()
    account.failed("x\x1b\u2028y")
    text = exposition(RunCounts(streams=(account.snapshot(),))).decode()
    assert "\x1b" not in text
    assert "\u2028" not in text
    assert 'maskstream_frames_failed_total{cause="x\\\\x1b\\\\u2028y"' in text.replace(
        'source_id="a\\\\u2028b",', ""
    )
