"""A password is in no text, however it got there."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator

import pytest

from pipeline import secrets
from pipeline.secrets import Secret, hide_in_logs, mask_url, remember, scrub

WORD = 'S3cr t/+@"\\ü%'


@pytest.fixture(autouse=True)
def forgotten_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    factory = logging.getLogRecordFactory()
    monkeypatch.setattr(secrets.PROCESS, "_forms", set())
    monkeypatch.setattr(secrets.PROCESS, "_pattern", None)
    yield
    logging.setLogRecordFactory(factory)


def test_the_text_of_a_secret_is_a_mask() -> None:
    secret = Secret(WORD)
    texts = [str(secret), repr(secret), f"{secret}", f"{secret!r}", f"{secret:>5}", f"{[secret]}"]
    assert not any(WORD in text or "S3cr" in text for text in texts)
    assert secret.reveal() == WORD


def test_secrets_compare_by_value_and_survive_pickling() -> None:
    secret = Secret(WORD)
    again = pickle.loads(pickle.dumps(secret))
    assert again == secret
    assert hash(again) == hash(secret)
    assert secret != Secret("another")
    assert secret != WORD
    assert not Secret("")


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(WORD, id="raw"),
        pytest.param("S3cr%20t%2F%2B%40%22%5C%C3%BC%25", id="percent"),
        pytest.param("s3cr%20t%2f%2b%40%22%5c%c3%bc%25", id="percent-small"),
        pytest.param("S3cr+t%2F%2B%40%22%5C%C3%BC%25", id="plus"),
        pytest.param('S3cr t/+@\\"\\\\\\u00fc%', id="json"),
        pytest.param("dXNlcjpTM2NyIHQvK0AiXMO8JQ==", id="basic-authentication"),
    ],
)
def test_every_form_of_a_secret_is_taken_out(form: str) -> None:
    remember(WORD, user="user")
    assert scrub(f"before {form} after") == "before *** after"


def test_a_value_of_a_letter_or_two_is_no_secret() -> None:
    remember("ab")
    assert scrub("about") == "about"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:word@cam:554/1?x=1", "rtsp://***@cam:554/1?x=1"),
        ("rtsp://user@cam/1", "rtsp://***@cam/1"),
        ("rtsp://u:p@ss@cam/1", "rtsp://***@cam/1"),
        ("http://cam/x?user=me&password=word&y=2", "http://cam/x?user=me&password=***&y=2"),
        ("http://cam/x?api_KEY=word#end", "http://cam/x?api_KEY=***#end"),
        ("rtsp://cam/1?loginuse=me&loginpas=word", "rtsp://cam/1?loginuse=me&loginpas=***"),
        (
            "https://b/c?X-Amz-Credential=k&X-Amz-Signature=s",
            "https://b/c?X-Amz-Credential=***&X-Amz-Signature=***",
        ),
        ("https://b/c?sig=s&signal=3&psw=w", "https://b/c?sig=***&signal=3&psw=***"),
        ("http://cam/a@b", "http://cam/a@b"),
        ("street.mp4", "street.mp4"),
    ],
)
def test_a_url_is_shown_without_credentials(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_no_record_holds_a_known_secret(caplog: pytest.LogCaptureFixture) -> None:
    hide_in_logs()
    hide_in_logs()
    remember("hunter22")
    log = logging.getLogger("test")
    log.warning("opening rtsp://u:hunter22@cam, %s, %d", ["hunter22"], 7)
    try:
        raise ValueError("refused hunter22")
    except ValueError:
        log.exception("it failed")
    formatter = logging.Formatter("%(message)s")
    text = "\n".join(formatter.format(record) for record in caplog.records)
    assert "hunter22" not in text
    assert "opening rtsp://u:***@cam, ['***'], 7" in text
    assert "ValueError: refused ***" in text


def test_a_wrong_format_string_is_left_to_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    hide_in_logs()
    remember("hunter22")
    logger = logging.getLogger("test")
    record = logger.makeRecord("test", logging.INFO, "f", 1, "%d", ("hunter22",), None)
    assert record.msg == "%d"
