"""Plans become objects."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.accounting import StreamAccount
from pipeline.assemble import build_segmenter, build_stream
from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.plan import ModelPlan, StreamPlan, TrackerPlan
from pipeline.plan.resolve import resolve
from pipeline.runtime import Serving
from pipeline.testing import ListSink


def stream_of(url: str, *, sinks: Any = (), **source: Any) -> StreamPlan:
    sources = [{"id": "a", "url": url, **source}]
    plan = resolve(parse({"model": {"name": "blob"}, "sources": sources, "sinks": list(sinks)}))
    return replace(plan.streams[0], run="run of a")


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
    local = Serving(lambda: BlobSegmenter(), max_wait_s=0.0)
    yield local
    local.close()


def test_a_stream_is_built_from_settings_and_runs(
    pictures: Path, tmp_path: Path, segmenter: Serving
) -> None:
    plan = stream_of(
        str(pictures),
        sinks=[f"jsonl:{tmp_path}/all/{{source}}.jsonl", f"jsonl:{tmp_path}/{{source}}.second"],
        classes=["red"],
    )
    account, extra = StreamAccount("a"), ListSink()
    stream = build_stream(plan, segmenter, account=account, more_sinks=[("list", extra)])
    end = stream.run()
    assert end.exit_code == 0
    assert list(end.counts.sinks) == ["jsonl", "jsonl-2", "list"]
    assert extra.indices == [0, 1, 2]
    assert extra.results[0].run == "run of a"
    assert extra.results[2].instances.track_ids.tolist() == [1]
    assert extra.results[2].labels[1] == "red"
    assert len((tmp_path / "a.second").read_bytes().splitlines()) == 4


def test_of_a_watched_stream_that_is_tracked_is_kept_what_happened(
    pictures: Path, segmenter: Serving
) -> None:
    plan = stream_of(str(pictures))
    untracked = replace(plan, tracker=TrackerPlan(preset="none"), watched=True)
    for one, tracks in ((plan, []), (replace(plan, watched=True), [1]), (untracked, [])):
        stream = build_stream(one, segmenter, account=StreamAccount("a"))
        stream.run()
        events = stream.happened(None)
        assert [event.track for event in events] == tracks
        assert all(event.jpeg and event.jpeg.startswith(b"\xff\xd8") for event in events)


def test_a_class_the_loaded_model_does_not_have_is_refused(
    pictures: Path, segmenter: Serving
) -> None:
    plan = replace(stream_of(str(pictures)), classes=("car",))
    with pytest.raises(ConfigError, match="source a: the model has no class 'car'"):
        build_stream(plan, segmenter, account=StreamAccount("a"))


def test_when_one_sink_is_refused_the_others_are_closed(
    pictures: Path, tmp_path: Path, segmenter: Serving
) -> None:
    (tmp_path / "second.jsonl").write_text("precious")
    plan = stream_of(
        str(pictures),
        sinks=[f"jsonl:{tmp_path}/first.jsonl", f"jsonl:{tmp_path}/second.jsonl"],
    )
    with pytest.raises(ConfigError, match=r"second[.]jsonl"):
        build_stream(plan, segmenter, account=StreamAccount("a"))
    # Were the first still open, it could not be opened again: outputs are locked.
    first_only = replace(plan, sinks=plan.sinks[:1])
    stream = build_stream(first_only, segmenter, account=StreamAccount("a"), again=True)
    assert stream.run().exit_code == 0


def test_what_a_camera_published_without_any_state_survives_the_death_of_its_worker(
    tmp_path: Path, segmenter: Serving
) -> None:
    """Nobody knows where it stood, and none of it comes again."""
    out = tmp_path / "cam.jsonl"
    out.write_text("published\n")
    plan = stream_of("rtsp://127.0.0.1:9/cam", sinks=[f"jsonl:{out}"])
    with pytest.raises(ConfigError, match=r"where it stood could not be written down; it is left"):
        build_stream(plan, segmenter, account=StreamAccount("a"), again=True)
    assert out.read_text() == "published\n"


def test_a_password_is_taken_from_where_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segmenter: Serving
) -> None:
    plan = stream_of("rtsp://cam/1", username="u", password_env="GATE_PASSWORD")
    with pytest.raises(ConfigError, match=r"source a: the environment has no GATE_PASSWORD"):
        build_stream(plan, segmenter, account=StreamAccount("a"))
    missing = tmp_path / "secret"
    plan = stream_of("rtsp://cam/1", username="u", password_file=str(missing))
    with pytest.raises(ConfigError, match=r"password_file .*secret cannot be read: No such file"):
        build_stream(plan, segmenter, account=StreamAccount("a"))


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
    make: Callable[[Path], object], reason: str, tmp_path: Path, segmenter: Serving
) -> None:
    path = tmp_path / "secret"
    make(path)
    plan = stream_of("rtsp://cam/1", username="u", password_file=str(path))
    with pytest.raises(ConfigError, match=f"password_file .*secret cannot be read: .*{reason}"):
        build_stream(plan, segmenter, account=StreamAccount("a"))


def test_a_plan_that_is_not_prepared_is_not_carried_out(pictures: Path, segmenter: Serving) -> None:
    with pytest.raises(AssertionError, match="`prepare` comes first"):
        build_stream(
            replace(stream_of(str(pictures)), run=""), segmenter, account=StreamAccount("a")
        )


def test_a_segmenter_is_built_by_name() -> None:
    segmenter = build_segmenter(ModelPlan(name="blob", weights=None))
    assert segmenter.info.name == "blob"
    segmenter.close()


def test_a_plan_is_made_without_what_carries_it_out() -> None:
    code = (
        "import sys\n"
        "from pipeline.config import parse\n"
        "from pipeline.plan.resolve import resolve\n"
        "resolve(parse({'model': {'name': 'blob'}, 'sources': [{'id': 'a', 'url': 'a.mp4'}]}))\n"
        "assert not {'torch', 'cv2', 'av', 'ray'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_who_carries_a_plan_out_needs_neither_torch_nor_what_reads_settings(
    pictures: Path,
) -> None:
    code = (
        "import pickle, sys\n"
        "plan = pickle.loads(sys.stdin.buffer.read())\n"
        "from pipeline.accounting import StreamAccount\n"
        "from pipeline.assemble import build_stream\n"
        "from pipeline.testing import ManualSegmenter\n"
        "stream = build_stream(plan, ManualSegmenter(), account=StreamAccount('a'))\n"
        "from pipeline.stream import Drain\n"
        "stream.obey(Drain('enough')); stream.run()\n"
        "assert not {'torch', 'torchvision', 'ray', 'pydantic', 'yaml'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(stream_of(str(pictures))),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
