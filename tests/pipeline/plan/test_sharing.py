"""Which streams may run on another machine."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import parse
from pipeline.plan import RunPlan
from pipeline.plan.prepare import prepare
from pipeline.plan.resolve import resolve
from pipeline.plan.sharing import is_shared, kept_here


def plan_of(tmp_path: Path, url: str, *, sink: str = "", **run: Any) -> RunPlan:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "clip.mp4").touch()
    (tmp_path / "clip.mp4").touch()
    plan = resolve(
        parse(
            {
                "model": {"name": "blob"},
                "sources": [{"id": "gate", "url": url.format(tmp_path)}],
                "sinks": [sink.format(tmp_path)] if sink else [],
                "cluster": {"shared_paths": [str(shared)]},
                "run": {key: value.format(tmp_path) for key, value in run.items()},
            }
        )
    )
    return prepare(plan).plan


SHARED_SINK = "jsonl:{}/shared/gate.jsonl"


@pytest.mark.parametrize(
    ("url", "sink", "run", "kept"),
    [
        ("{}/shared/clip.mp4", SHARED_SINK, {}, None),
        ("synthetic://street", SHARED_SINK, {}, None),
        ("{}/clip.mp4", SHARED_SINK, {}, "the source 'gate'"),
        ("{}/shared/clip.mp4", "jsonl:{}/gate.jsonl", {}, "the sink 'jsonl:{}/gate.jsonl'"),
        ("{}/shared/clip.mp4", "", {}, "how far the source 'gate' came"),
        ("rtsp://gate/main", SHARED_SINK, {}, "how far the source 'gate' came"),
        ("rtsp://gate/main", SHARED_SINK, {"state_dir": "{}/shared/state"}, None),
        ("rtsp://gate/main", "mqtt://broker?topic=gate", {"state_dir": "{}/shared/state"}, None),
        ("rtsp://gate/main", SHARED_SINK, {"state_dir": "{}/s"}, "the state of the source 'gate'"),
        ("/dev/video0", SHARED_SINK, {"state_dir": "{}/shared/s"}, "the source 'gate'"),
        ("udp://0.0.0.0:5000", SHARED_SINK, {"state_dir": "{}/shared/s"}, "the source 'gate'"),
    ],
    ids=str,
)
def test_a_stream_may_run_anywhere_once_all_its_files_are_shared(
    tmp_path: Path, url: str, sink: str, run: dict[str, str], kept: str | None
) -> None:
    plan = plan_of(tmp_path, url, sink=sink, **run)
    use = kept_here(plan, plan.streams[0])
    assert (None if use is None else use.what) == (kept and kept.format(tmp_path))


def test_what_leads_out_of_a_shared_folder_by_a_link_is_not_shared(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "own").symlink_to(tmp_path)
    shared = (str(tmp_path / "shared"),)
    assert is_shared(f"{shared[0]}/clip.mp4", shared)
    assert not is_shared(f"{shared[0]}/own/clip.mp4", shared)
    assert not is_shared(f"{shared[0]}-too/clip.mp4", shared)
