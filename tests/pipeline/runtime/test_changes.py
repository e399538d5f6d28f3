"""What of a stream may change while it runs, and what is refused by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.plan import StreamPlan
from pipeline.plan.resolve import resolve
from pipeline.runtime.changes import NeedsNewStart, changed_plan


def camera(**words: Any) -> StreamPlan:
    source = {"id": "gate", "url": "rtsp://gate.example/stream", **words}
    return resolve(parse({"model": {"name": "blob"}, "sources": [source]}), cores=2).streams[0]


@pytest.mark.parametrize(
    "words",
    [
        {"min_score": 0.9},
        {"max_latency_ms": 700},
        {"segment_every": 3},
        {"adaptive": True},
        {"stride": 2},
        {"max_fps": 5},
        {"classes": ["red"]},
        {"include": [[[0, 0], [9, 0], [9, 9]]]},
        {"ignore": [[[0, 0], [9, 0], [9, 9]]]},
    ],
    ids=lambda words: next(iter(words)),
)
def test_how_a_camera_is_looked_at_changes_while_it_runs(words: dict[str, Any]) -> None:
    now = camera()
    assert changed_plan(now, camera(**words), begun=now) == camera(**words)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (camera(url="rtsp://other.example/stream"), "source"),
        (camera(transport="udp"), "source"),
        (camera(tracker="none"), "tracker"),
        (camera(tracker="crowd"), "tracker"),
        (replace(camera(), overwrite=True), "overwrite"),
        (camera(tracker="none", transport="udp"), "source, tracker"),
        (camera(priority=1), "priority"),
        (camera(share=2), "share"),
    ],
)
def test_what_makes_it_another_stream_is_refused_by_name(asked: StreamPlan, named: str) -> None:
    now = camera()
    with pytest.raises(NeedsNewStart) as caught:
        changed_plan(now, asked, begun=now)
    assert str(caught.value).startswith(f"stream gate: {named} cannot change while it runs; ")
    assert str(caught.value).endswith(
        "what can is min_score, max_latency_ms, segment_every, adaptive, stride, max_fps, "
        "classes, include, ignore, sinks"
    )


def test_pictures_that_are_not_decoded_cannot_come_back() -> None:
    begun = camera(stride=2)
    assert changed_plan(begun, camera(stride=4), begun=begun).settings.stride == 4
    for words in ({"stride": 1}, {"stride": 3}):
        with pytest.raises(ConfigError, match="it was opened with stride 2 and max_fps unlimited"):
            changed_plan(begun, camera(**words), begun=begun)


def test_a_file_keeps_its_settings() -> None:
    now = camera(url="street.mp4")
    with pytest.raises(ConfigError, match="stream gate: the settings of a file cannot change"):
        changed_plan(now, camera(url="street.mp4", min_score=0.9), begun=now)


def with_sinks(*sinks: str) -> StreamPlan:
    values = {"model": {"name": "blob"}, "sinks": list(sinks)}
    source = {"id": "gate", "url": "rtsp://gate.example/stream"}
    return resolve(parse({**values, "sources": [source]}), cores=2).streams[0]


def test_sinks_that_stay_are_as_they_were_and_new_ones_get_names_nobody_had() -> None:
    now = with_sinks("jsonl:a.jsonl", "jsonl:b.jsonl")
    now = replace(now, sinks=tuple(replace(one, spool="kept") for one in now.sinks))
    asked = with_sinks("jsonl:c.jsonl", "jsonl:b.jsonl", "video:c.mp4")
    after = changed_plan(now, asked, begun=now, named={"jsonl:gone.jsonl": "jsonl-3"})
    assert [(one.name, one.url) for one in after.sinks] == [
        ("jsonl-4", "jsonl:c.jsonl"),
        ("jsonl-2", "jsonl:b.jsonl"),
        ("video", "video:c.mp4"),
    ]
    assert after.sinks[1] is now.sinks[1]


def test_a_sink_that_comes_back_has_the_name_it_had() -> None:
    now, asked = with_sinks("jsonl:b.jsonl"), with_sinks("jsonl:b.jsonl", "jsonl:a.jsonl")
    after = changed_plan(now, asked, begun=now, named={"jsonl:a.jsonl": "jsonl-7"})
    assert [one.name for one in after.sinks] == ["jsonl", "jsonl-7"]
