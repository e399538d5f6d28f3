"""`check` prints what a run would do, and no secret."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from pipeline.cli.app import app


def test_the_plan_is_printed(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "workers: {max_batch: 4, in_flight_mb: 64}\n"
        "sources:\n"
        "  - {id: gate, url: 'rtsp://user:S3cret@gate/1'}\n"
        "  - {id: clip, url: clip.mp4, tracker: none, segment_every: 1}\n"
        "sinks: ['jsonl:{source}.jsonl', {url: 'video:gate.mp4', sources: [gate]}]\n"
    )
    done = CliRunner().invoke(app, ["check", str(config)])
    assert done.stdout.splitlines() == [
        f"{config}: valid",
        "model    maskrcnn_resnet50_fpn_v2, weights COCO_V1, device auto, precision auto",
        "workers  auto, on Ray, at most 4 a batch",
        "source   gate: rtsp://***@gate/1",
        "         live, tracker default, to jsonl, video, at most 8 frames or 32 MB in flight",
        "source   clip: clip.mp4",
        "         every frame, tracker none, to jsonl, at most 8 frames or 32 MB in flight",
        "sink     jsonl:{source}.jsonl",
        "sink     video:gate.mp4",
    ]
