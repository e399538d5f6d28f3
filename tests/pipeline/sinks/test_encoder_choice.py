"""`codec=hardware`: the first encoder of a device that works here, else libx264."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline import sinks
from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.plan.notes import notes
from pipeline.plan.resolve import resolve
from pipeline.sinks import h264


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The encoders that can be opened."""
    working: set[str] = set()

    def check(codec: str, *, threads: int, options: dict[str, str]) -> None:
        if codec not in working:
            raise ConfigError(f"video: the encoder {codec} cannot be opened")

    monkeypatch.setattr(h264, "check_encoder", check)
    h264.hardware_codec.cache_clear()
    yield working
    h264.hardware_codec.cache_clear()


def test_the_first_that_can_be_opened_is_taken(works: set[str]) -> None:
    works |= {"h264_vaapi", "h264_qsv"}
    assert h264.with_codec({"codec": "hardware", "crf": 23}) == {"codec": "h264_qsv", "crf": 23}


def test_where_no_device_codes_libx264_does(works: set[str]) -> None:
    assert h264.hardware_codec() == "libx264"


def test_who_names_an_encoder_gets_that_one(works: set[str]) -> None:
    works |= {"h264_nvenc"}
    assert h264.with_codec({"codec": "h264_amf"}) == {"codec": "h264_amf"}


def test_the_plan_says_which_it_is(works: set[str]) -> None:
    works |= {"h264_nvenc"}
    url = "video:out/a.mp4?codec=hardware"
    settings = parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": "a", "url": "synthetic://street"}],
            "sinks": [url, "video:out/b.mp4", "jsonl:out/a.jsonl"],
        }
    )
    assert notes(resolve(settings)) == [f"sink {url}: coded by h264_nvenc"]
    assert sinks.hardware_codec("rtsp://127.0.0.1/x?codec=hardware") == "h264_nvenc"
