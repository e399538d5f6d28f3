"""What workers log reaches the user as one line each."""

import logging

import pytest

from pipeline import secrets
from workers.logs import Line, LogTail, relay


@pytest.fixture
def tail() -> LogTail:
    return LogTail(capacity=2)


def logger_to(tail: LogTail) -> logging.Logger:
    logger = logging.Logger("pipeline.x", logging.DEBUG)  # noqa: LOG001 - nobody else's
    logger.addHandler(tail)
    return logger


def test_messages_are_taken_once(tail: LogTail) -> None:
    logger_to(tail).warning("lost %d", 3, extra={"source_id": "gate"})
    assert tail.take() == [Line(logging.WARNING, "pipeline.x", "lost 3", "gate")]
    assert tail.take() == []


def test_a_message_is_one_line_and_names_its_error(tail: LogTail) -> None:
    try:
        raise ValueError("what\nmore")
    except ValueError:
        logger_to(tail).exception("reading failed\nbadly")
    (line,) = tail.take()
    assert line.text == "reading failed: ValueError: what"


def test_debug_messages_stay_where_they_are(tail: LogTail) -> None:
    logger_to(tail).debug("every frame")
    assert tail.take() == []


def test_what_does_not_fit_is_counted(tail: LogTail) -> None:
    for number in range(5):
        logger_to(tail).info("message %d", number)
    texts = [line.text for line in tail.take()]
    assert texts == ["3 earlier messages were not kept", "message 3", "message 4"]


def test_a_relayed_message_keeps_level_and_logger_and_names_where_it_is_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = [
        Line(logging.ERROR, "pipeline.stream", "the disk is full", "gate"),
        Line(logging.INFO, "pipeline.models", "loaded"),
    ]
    with caplog.at_level(logging.INFO):
        relay(lines, worker="segment-0")
    assert caplog.record_tuples == [
        ("pipeline.stream", logging.ERROR, "gate: the disk is full"),
        ("pipeline.models", logging.INFO, "segment-0: loaded"),
    ]


def test_a_source_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    relay([Line(logging.WARNING, "pipeline.sources", "gate: no answer", "gate")], worker="w")
    assert caplog.messages == ["gate: no answer"]


def test_the_error_of_a_message_shows_no_password(
    tail: LogTail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets.PROCESS, "_forms", set())
    monkeypatch.setattr(secrets.PROCESS, "_pattern", None)
    secrets.remember("S3cret")
    try:
        raise OSError("rtsp://me:S3cret@camera/1")
    except OSError:
        logger_to(tail).exception("reading failed")
    (line,) = tail.take()
    assert line.text == "reading failed: OSError: rtsp://me:***@camera/1"
