"""Real videos, through Ray, against FFmpeg's count and against the run in one process."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import islice
from pathlib import Path
from typing import Any

import av
import pytest

from pipeline.config import Settings, parse
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from pipeline.sources import expand
from workers.running import run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

OF_EACH_KIND = (
    *("bt709_full_range.mp4", "h264_10bits.mp4", "h265_10bits.mp4", "h265_video.mp4"),
    *("classroom.gif", "walk.mkv"),
)
"""Containers, codecs, depths and colours; a stream worker of Ray costs seconds to start."""


def settings_for(addresses: list[str], out: Path, **model: str) -> Settings:
    sources = [{"id": source_id, "url": url} for source_id, url in expand(addresses)]
    return parse({"model": model, "sources": sources, "sinks": [f"jsonl:{out}/{{source}}.jsonl"]})


def begun(video: Path, folder: Path, packets: int) -> Path:
    """The first packets of a video as they are, in a file of its kind."""
    path = folder / video.name
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in islice(source.demux(video=0), packets):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return path


def frames_ffmpeg_counts(video: Path) -> int:
    """What FFmpeg itself makes of the first video stream."""
    command = ["ffmpeg", "-nostdin", "-i", str(video), "-map", "0:v:0"]
    command += ["-fps_mode", "passthrough", "-f", "null", "-"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return int(re.findall(r"frame=\s*(\d+)", told)[-1])


def frame_records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()][:-1]


def same_on_ray_and_in_one_process(videos: list[str], tmp_path: Path, **model: str) -> Settings:
    on_ray = settings_for(videos, tmp_path / "ray", **model)
    summary = run(resolve(on_ray))
    assert [end.outcome.status for end in summary.ends] == ["complete"] * len(videos)
    assert all(end.counts.balanced() for end in summary.ends)
    alone = resolve(settings_for(videos, tmp_path / "local", **model))
    assert run_local(alone).exit_code == 0
    for source in on_ray.sources:
        name = f"{source.id}.jsonl"
        expected = (tmp_path / "local" / name).read_bytes()
        assert (tmp_path / "ray" / name).read_bytes() == expected, source.id
    return on_ray


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg: apt-get install ffmpeg")
def test_a_video_of_each_kind_gives_the_frames_ffmpeg_counts_in_order_and_the_same_bytes_both_ways(
    ray_session: None, shared_data: Path, tmp_path: Path
) -> None:
    videos = [begun(shared_data / "videos" / name, tmp_path, 45) for name in OF_EACH_KIND]
    settings = same_on_ray_and_in_one_process([*map(str, videos)], tmp_path, name="blob")
    counted = {s.id: frames_ffmpeg_counts(Path(s.url)) for s in settings.sources}
    indices = {
        s.id: [r["frame"] for r in frame_records(tmp_path / "ray" / f"{s.id}.jsonl")]
        for s in settings.sources
    }
    assert indices == {source_id: list(range(count)) for source_id, count in counted.items()}
    assert sorted(counted.values()) == [10, 30, 30, 30, 45, 45]


def test_the_network_too_gives_the_same_bytes_both_ways_and_a_street_is_full_of_masks(
    ray_session: None, shared_data: Path, tmp_path: Path
) -> None:
    videos = [
        str(begun(shared_data / "videos" / name, tmp_path, 3))
        for name in ("h265_10bits.mp4", "person-bicycle-car-detection.gif")
    ]
    street = "synthetic://street?seed=1&frames=3"
    settings = same_on_ray_and_in_one_process([*videos, street], tmp_path, weights="demo")
    found = {
        source.id: [
            len(record["instances"])
            for record in frame_records(tmp_path / "ray" / f"{source.id}.jsonl")
        ]
        for source in settings.sources
    }
    assert [len(numbers) for numbers in found.values()] == [3, 3, 3]
    assert min(found["street"]) >= 3
