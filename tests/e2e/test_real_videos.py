"""Every real video, through Ray, against FFmpeg's count and against the run in one process."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Settings, parse
from pipeline.runner import run_local
from pipeline.sources import expand
from workers.supervisor import run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

SHORT = ("person-bicycle-car-detection.gif", "h265_10bits.mp4", "bt709_full_range.mp4")
"""Other sizes, depths and colours; few frames, so that the network has them done in seconds."""


def settings_for(videos: list[Path], out: Path, **model: str) -> Settings:
    sources = [{"id": source_id, "url": url} for source_id, url in expand(map(str, videos))]
    return parse({"model": model, "sources": sources, "sinks": [f"jsonl:{out}/{{source}}.jsonl"]})


def frames_ffmpeg_counts(video: Path) -> int:
    """What FFmpeg itself makes of the first video stream."""
    command = ["ffmpeg", "-nostdin", "-i", str(video), "-map", "0:v:0"]
    command += ["-fps_mode", "passthrough", "-f", "null", "-"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return int(re.findall(r"frame=\s*(\d+)", told)[-1])


def frame_records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()][:-1]


def same_on_ray_and_in_one_process(videos: list[Path], tmp_path: Path, **model: str) -> Settings:
    on_ray = settings_for(videos, tmp_path / "ray", **model)
    summary = run(on_ray)
    assert [end.outcome.status for end in summary.ends] == ["complete"] * len(videos)
    assert all(end.counts.balanced() for end in summary.ends)
    assert run_local(settings_for(videos, tmp_path / "local", **model)).exit_code == 0
    for source in on_ray.sources:
        name = f"{source.id}.jsonl"
        expected = (tmp_path / "local" / name).read_bytes()
        assert (tmp_path / "ray" / name).read_bytes() == expected, source.id
    return on_ray


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg: apt-get install ffmpeg")
def test_every_video_gives_the_frames_ffmpeg_counts_in_order_and_the_same_bytes_both_ways(
    ray_session: None, shared_data: Path, tmp_path: Path
) -> None:
    videos = sorted((shared_data / "videos").iterdir())
    settings = same_on_ray_and_in_one_process(videos, tmp_path, name="blob")
    counted = {s.id: frames_ffmpeg_counts(Path(s.url)) for s in settings.sources}
    indices = {
        s.id: [r["frame"] for r in frame_records(tmp_path / "ray" / f"{s.id}.jsonl")]
        for s in settings.sources
    }
    assert indices == {source_id: list(range(count)) for source_id, count in counted.items()}


def test_the_network_too_gives_the_same_bytes_both_ways(
    ray_session: None, shared_data: Path, tmp_path: Path
) -> None:
    videos = [shared_data / "videos" / name for name in SHORT]
    settings = same_on_ray_and_in_one_process(
        videos, tmp_path, name="maskrcnn_resnet18_fpn", weights="demo"
    )
    published = [
        len(record["instances"])
        for source in settings.sources
        for record in frame_records(tmp_path / "ray" / f"{source.id}.jsonl")
    ]
    assert len(published) == 41 + 30 + 30


def test_a_rendered_street_is_the_same_both_ways_and_full_of_masks(
    ray_session: None, tmp_path: Path
) -> None:
    def settings(out: Path) -> Settings:
        return parse(
            {
                "model": {"weights": "demo"},
                "sources": [
                    {"id": f"s{seed}", "url": f"synthetic://street?seed={seed}&frames=12"}
                    for seed in (1, 2)
                ],
                "sinks": [f"jsonl:{out}/{{source}}.jsonl"],
            }
        )

    assert run(settings(tmp_path / "ray")).exit_code == 0
    assert run_local(settings(tmp_path / "local")).exit_code == 0
    for name in ("s1.jsonl", "s2.jsonl"):
        records = frame_records(tmp_path / "ray" / name)
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
        assert [len(record["instances"]) >= 3 for record in records] == [True] * 12
