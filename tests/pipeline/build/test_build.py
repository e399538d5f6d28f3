"""Settings become objects, and wrong ones are refused before anything is opened."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline import build
from pipeline.accounting import StreamAccount
from pipeline.config import Settings, parse
from pipeline.errors import ConfigError
from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.runner import LocalSegmenter
from pipeline.testing import ListSink


def settings_of(*sources: dict[str, Any], **sections: Any) -> Settings:
    values = sources or ({"id": "a", "url": "missing.mp4"},)
    return parse({"model": {"name": "blob"}, "sources": list(values), **sections})


def source(id_: str = "a", url: str = "missing.mp4", **more: Any) -> dict[str, Any]:
    return {"id": id_, "url": url, **more}


def test_a_right_configuration_passes_though_nothing_of_it_exists() -> None:
    build.check(settings_of(source(classes=["red"]), sinks=["jsonl:nowhere/{source}.jsonl"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            {"model": {"name": "maskrcnn_resnet50_fpn_v3"}},
            r"model.name: 'maskrcnn_resnet50_fpn_v3' is not known, did you mean "
            r"'maskrcnn_resnet50_fpn_v2'\?; known are ",
            id="model",
        ),
        pytest.param(
            {"sources": [source(classes=["reed"])]},
            r"source a: the model has no class 'reed', did you mean 'red'\?; it has red, green",
            id="class",
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
        build.check(parse({"model": {"name": "blob"}, "sources": [source()], **settings}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:S3cret@cam:554/1", "rtsp://***@cam:554/1"),
        ("rtsp://user@cam/1", "rtsp://***@cam/1"),
        (
            "http://cam/video?user=u&password=S3cret&fps=5",
            "http://cam/video?user=u&password=***&fps=5",
        ),
        ("http://cam/video?api_key=S3cret", "http://cam/video?api_key=***"),
        ("out/video@home.mp4", "out/video@home.mp4"),
    ],
)
def test_secrets_in_urls_are_masked(url: str, shown: str) -> None:
    assert build.masked(url) == shown


# -- identity --------------------------------------------------------------------------------------


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Not a video, but a file with content is all that matters here."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(range(256)) * 10)
    return path


def run_of(url: object, **more: Any) -> str:
    sections = {
        name: more.pop(name) for name in ("model", "tracker", "workers", "run") if name in more
    }
    settings = parse(
        {"model": {"name": "blob"}, "sources": [source(url=str(url), **more)], **sections}
    )
    return build.run_id(settings, settings.sources[0])


def test_what_is_said_to_be_a_recording_is_planned_for_as_a_file() -> None:
    def planned(**more: Any) -> tuple[bool, bool]:
        settings = settings_of(source(url="http://h/a.ts", **more))
        one = settings.sources[0]
        return build.is_live(one), build.run_id(settings, one) == build.run_id(settings, one)

    assert planned(live=False) == (False, True)
    assert planned(live="auto") == (True, False)
    assert planned(live=True) == (True, False)


def test_the_same_work_has_the_same_run_wherever_it_is_done(clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.mp4"
    copy.write_bytes(clip.read_bytes())
    first = run_of(clip)
    assert run_of(copy) == first
    assert run_of(clip, workers={"segment": 4, "max_batch": 2}) == first
    assert run_of(clip, run={"executor": "local", "overwrite": True}) == first
    assert run_of(clip, read_timeout_s=9) == first


@pytest.mark.parametrize(
    "change",
    [
        {"min_score": 0.4}, {"classes": ["red"]}, {"max_fps": 5}, {"stride": 2}, {"start": 1.0},
        {"duration": 2.0}, {"segment_every": 2}, {"tracker": {"preset": "crowd"}},
        {"tracker": {"preset": "default", "track_buffer": 9}},
        {"model": {"name": "blob", "score_threshold": 0.2}},
        {"ignore": [[[0, 0], [9, 0], [9, 9]]]},
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_results_changes_the_run(clip: Path, change: dict[str, Any]) -> None:
    assert run_of(clip, **change) != run_of(clip)


def test_another_file_is_another_run(clip: Path) -> None:
    before = run_of(clip)
    clip.write_bytes(clip.read_bytes() + b"!")
    assert run_of(clip) != before


def test_a_camera_has_a_run_of_its_own_that_is_kept_with_its_state(tmp_path: Path) -> None:
    assert run_of("rtsp://cam/1") != run_of("rtsp://cam/1")
    kept = {"state_dir": str(tmp_path / "state")}
    assert run_of("rtsp://cam/1", run=kept) == run_of("rtsp://cam/1", run=kept)


# -- the objects -----------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        image = np.full((48, 64, 3), 40, np.uint8)
        image[10:30, 5 + index : 25 + index] = (0, 0, 255)
        cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


@pytest.fixture
def segmenter() -> Any:
    local = LocalSegmenter(BlobSegmenter(), max_wait_s=0.0)
    yield local
    local.close()


def test_a_stream_is_built_from_settings_and_runs(
    pictures: Path, tmp_path: Path, segmenter: LocalSegmenter
) -> None:
    settings = settings_of(
        source("a", str(pictures), classes=["red"]),
        sinks=[f"jsonl:{tmp_path}/all/{{source}}.jsonl", f"jsonl:{tmp_path}/{{source}}.second"],
    )
    account, extra = StreamAccount("a"), ListSink()
    stream = build.build_stream(
        settings, settings.sources[0], segmenter, account=account, more_sinks=[("list", extra)]
    )
    end = stream.run()
    assert end.exit_code == 0
    assert list(end.counts.sinks) == ["jsonl", "jsonl-2", "list"]
    assert extra.indices == [0, 1, 2]
    assert extra.results[0].run == build.run_id(settings, settings.sources[0])
    assert extra.results[2].instances.track_ids.tolist() == [1]
    assert extra.results[2].labels[1] == "red"
    assert len((tmp_path / "a.second").read_bytes().splitlines()) == 4


def test_a_class_the_loaded_model_does_not_have_is_refused(
    pictures: Path, segmenter: LocalSegmenter
) -> None:
    settings = settings_of(source("a", str(pictures), classes=["car"]))
    with pytest.raises(ConfigError, match="source a: the model has no class 'car'"):
        build.build_stream(settings, settings.sources[0], segmenter, account=StreamAccount("a"))


def test_when_one_sink_is_refused_the_others_are_closed(
    pictures: Path, tmp_path: Path, segmenter: LocalSegmenter
) -> None:
    (tmp_path / "second.jsonl").write_text("precious")
    settings = settings_of(
        source("a", str(pictures)),
        sinks=[f"jsonl:{tmp_path}/first.jsonl", f"jsonl:{tmp_path}/second.jsonl"],
    )
    with pytest.raises(ConfigError, match=r"second[.]jsonl"):
        build.build_stream(settings, settings.sources[0], segmenter, account=StreamAccount("a"))
    # Were the first still open, it could not be opened again: outputs are locked.
    first_only = settings.model_copy(update={"sinks": settings.sinks[:1]})
    stream = build.build_stream(
        first_only, settings.sources[0], segmenter, account=StreamAccount("a"), again=True
    )
    assert stream.run().exit_code == 0


def test_a_password_is_taken_from_where_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segmenter: LocalSegmenter
) -> None:
    settings = settings_of(source("a", "rtsp://cam/1", username="u", password_env="GATE_PASSWORD"))
    with pytest.raises(ConfigError, match=r"source a: the environment has no GATE_PASSWORD"):
        build.build_stream(settings, settings.sources[0], segmenter, account=StreamAccount("a"))
    missing = tmp_path / "secret"
    settings = settings_of(source("a", "rtsp://cam/1", username="u", password_file=str(missing)))
    with pytest.raises(ConfigError, match=r"password_file .*secret cannot be read: No such file"):
        build.build_stream(settings, settings.sources[0], segmenter, account=StreamAccount("a"))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda path: os.mkfifo(path), "not a regular file", id="a pipe"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), "not a regular file", id="zeros"),
        pytest.param(lambda path: path.mkdir(), "Is a directory", id="a folder"),
        pytest.param(
            lambda path: path.write_bytes(b"x" * 4097), "larger than 4,096 bytes", id="too long"
        ),
        pytest.param(lambda path: path.write_bytes(b"\xff"), "it is not UTF-8 text", id="no text"),
    ],
)
def test_what_is_no_password_file_is_refused_and_not_waited_for(
    make: Callable[[Path], object], reason: str, tmp_path: Path, segmenter: LocalSegmenter
) -> None:
    path = tmp_path / "secret"
    make(path)
    settings = settings_of(source("a", "rtsp://cam/1", username="u", password_file=str(path)))
    with pytest.raises(ConfigError, match=f"password_file .*secret cannot be read: .*{reason}"):
        build.build_stream(settings, settings.sources[0], segmenter, account=StreamAccount("a"))


def test_a_segmenter_is_built_by_name() -> None:
    model = parse({"model": {"name": "blob"}, "sources": [source()]}).model
    segmenter = build.build_segmenter(model)
    assert segmenter.info.name == "blob"
    segmenter.close()


def test_checking_and_running_a_stream_loads_no_torch(pictures: Path) -> None:
    code = (
        "import sys\n"
        "from pipeline import build\n"
        "from pipeline.config import parse\n"
        "from pipeline.accounting import StreamAccount\n"
        "from pipeline.testing import ManualSegmenter\n"
        f"source = {{'id': 'a', 'url': {str(pictures)!r}}}\n"
        "s = parse({'model': {'name': 'blob'}, 'sources': [source]})\n"
        "build.check(s)\n"
        "heavy = {'torch', 'cv2', 'av', 'ray'} & set(sys.modules)\n"
        "assert not heavy, f'check loaded {heavy}'\n"
        "seg = ManualSegmenter()\n"
        "stream = build.build_stream(s, s.sources[0], seg, account=StreamAccount('a'))\n"
        "stream.stop(); stream.run()\n"
        "assert not {'torch', 'torchvision', 'ray'} & set(sys.modules), 'the stream loaded torch'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
