"""What is wrong is refused before anything is opened, and named with the nearest right word."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.plan.resolve import resolve


def source(id_: str = "a", url: str = "missing.mp4", **more: Any) -> dict[str, Any]:
    return {"id": id_, "url": url, **more}


def test_a_right_configuration_passes_though_nothing_of_it_exists() -> None:
    settings = {"sources": [source(classes=["red"])], "sinks": ["jsonl:nowhere/{source}.jsonl"]}
    (stream,) = resolve(parse({"model": {"name": "blob"}, **settings})).streams
    assert stream.class_ids({1: "red", 2: "green"}) == {1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            {"model": {"name": "maskrcnn_resnet50_fpn_v3"}},
            r"model 'maskrcnn_resnet50_fpn_v3' is not known, did you mean "
            r"'maskrcnn_resnet50_fpn_v2'\?; known are ",
            id="model",
        ),
        pytest.param(
            {"sources": [source(classes=["reed"])]},
            r"source a: the model has no class 'reed', did you mean 'red'\?; it has red, green",
            id="class",
        ),
        pytest.param(
            {"sinks": ["jsonl:out/{source}.jsonl?only=red,geen"]},
            r"sink 'jsonl:out/\{source\}.jsonl\?only=red,geen': only: the model has no class "
            r"'geen', did you mean 'green'\?; it has red, green",
            id="class of a sink",
        ),
        pytest.param(
            {"tracker": {"preset": "defualt"}},
            r"tracker preset 'defualt' does not exist.*default",
            id="preset",
        ),
        pytest.param(
            {"sources": [source(tracker="crwod")]}, "crowd", id="preset of one source"
        ),
        pytest.param(
            {"tracker": {"preset": "default", "track_bufer": 2}},
            "tracker.track_bufer does not exist.*track_buffer",
            id="tracker key",
        ),
        pytest.param(
            {"tracker": {"preset": "default", "min_score": 0.3}},
            r"tracker.min_score: set min_score of a source \(or under defaults\)",
            id="min_score of the tracker",
        ),
        *(
            pytest.param(
                {"sources": [source(url=f"synthetic://street?{wish}")]},
                rf"^source a: synthetic://street\?{wish}: {said}",
                id=wish,
            )
            for wish, said in (
                ("size=100000x100000", r"size must be WIDTHxHEIGHT, each 96\.\.4096"),
                ("size=8x8", "size must be WIDTHxHEIGHT"),
                ("frames=-1", "frames must be a whole number 1"),
                ("frames=0", "frames must be a whole number 1"),
                ("fps=nan", "fps must be above 0"),
                ("seed=x", "seed must be a whole number"),
                ("sede=1", "unknown key 'sede'"),
            )
        ),
        pytest.param(
            {"sources": [source(url="synthetic://road")]},
            "^source a: synthetic://road: unknown scene 'road'",
            id="scene",
        ),
        pytest.param(
            {"sources": [source(url="rtsp://cam/1", live=False)]},
            "^source a: live: false is for http:// and https://, not for rtsp",
            id="camera as a file",
        ),
        pytest.param(
            {"sources": [source(live=True)]},
            "^source a: live: true is for cameras and streams",
            id="file as a camera",
        ),
        pytest.param(
            {"sources": [source(url="https://cam/1", tls_ca_file="no/such.pem")]},
            r"^source a: tls_ca_file no/such\.pem cannot be used: No such file or directory",
            id="certificates",
        ),
        pytest.param(
            {"sources": [source(url="rtps://cam/1")]},
            r"source a: unknown kind of source rtps://.*did you mean rtsps?://\?",
            id="source scheme",
        ),
        pytest.param(
            {"sinks": ["json:out/{source}.jsonl"]},
            r"sink 'json:out/\{source\}.jsonl': unknown scheme 'json', did you mean 'jsonl'\?",
            id="sink scheme",
        ),
        pytest.param(
            {"sources": [source("a"), source("b")], "sinks": ["jsonl:out/all.jsonl"]},
            "the sources 'a' and 'b' would write the same file",
            id="one file for two sources",
        ),
        pytest.param(
            {"sinks": ["jsonl:out/{source}.txt", "coco:out/a.txt"]},
            "would write the same file for the source 'a'",
            id="two sinks for one file",
        ),
        pytest.param(
            {"sources": [source(segment_every=2, tracker="none")]},
            "source a: segment_every needs a tracker to carry the instances; tracker is none",
            id="carrying without a tracker",
        ),
        pytest.param(
            {"sources": [source(url="synthetic://street?seed=1", start=2.0)]},
            "source a: start and duration are for video files, not for synthetic sources",
            id="range of a scene",
        ),
        pytest.param(
            {"sources": [source(url="rtsp://cam/1", password_env="GATE")]},
            "source a: a password is given and no username",
            id="password alone",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_the_nearest_right_word(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        resolve(parse({"model": {"name": "blob"}, "sources": [source()], **settings}))
    assert "\n" not in str(caught.value)
