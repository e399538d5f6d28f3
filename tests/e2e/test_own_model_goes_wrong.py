"""A user's own model that goes wrong, in one process and on Ray: only those frames have failed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.config import parse
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from workers.running import run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

MODEL = """
import threading
import numpy as np
from maskstream import FunctionSegmenter

def find(image):
    kind, size = int(image[0, 0, 0]), image.shape[:2]
    if kind == 10:
        raise OSError("the camera of the model")
    if kind == 20:
        threading.Event().wait()
    if kind == 30:
        return [[3, 2, 8, 9]], [0.5], [1], []
    masks = np.zeros((1, *((20, 20) if kind == 40 else size)), bool)
    masks[0, 2:9, 3:8] = True
    return [[3, 2, 8, 9]], [float("nan") if kind == 50 else 0.5], [1], masks

def make():
    return FunctionSegmenter(find, {1: "thing"})
"""
WRONG = {
    10: "OSError: the camera of the model",
    30: "masks",
    40: "masks must have the size of their",
    50: "scores must be finite",
}


@pytest.mark.parametrize(
    ("executor", "failed"),
    [("local", {"model_error": 5}), ("ray", {"model_error": 4, "worker_lost": 1})],
)
def test_each_frame_it_goes_wrong_on_has_failed_and_the_stream_goes_on(
    executor: str,
    failed: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    if executor == "ray":
        request.getfixturevalue("ray_session")
    (tmp_path / "their_wrong_model.py").write_text(MODEL)
    (tmp_path / "pictures").mkdir()
    for row, kind in enumerate([0, 10, 20, 30, 1, 40, 50, 2]):
        cv2.imwrite(f"{tmp_path}/pictures/{row}.png", np.full((40, 60, 3), kind, np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    carry_out = run if executor == "ray" else run_local
    summary = carry_out(
        resolve(
            parse(
                {
                    "model": {"name": "their_wrong_model:make"},
                    "sources": [{"id": "a", "url": "pictures"}],
                    "sinks": ["jsonl:{source}.jsonl"],
                    "workers": {"batch_timeout_s": 1.0},
                }
            )
        )
    )
    (end,) = summary.ends
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines if "frame" in line] == [0, 4, 7]
    assert dict(end.counts.failed) == failed
    for reason in WRONG.values():
        assert reason in caplog.text
