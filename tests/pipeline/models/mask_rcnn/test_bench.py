"""What the benchmark of a model measures, without looking at how long it took."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models.detection import MaskRCNN

from benchmarks.segment import largest_batch
from pipeline.models.mask_rcnn.bench import bench_model, overlapped_seconds
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.found import Found
from pipeline.models.shared.devices import place


def test_a_table_says_what_ran_how_fast_and_beside_what() -> None:
    table = bench_model(
        "maskrcnn_resnet18_fpn",
        device="cpu",
        precision="fp32",
        sizes=[(64, 96)],
        detections=3,
        repeats=2,
        input_size=(64, 96),
        forwards=["eager"],
    )

    (row,) = table.rows
    assert (row.size, row.batch, row.detections) == ((64, 96), 1, 3)
    assert list(row.torchvision) == ["torchvision eager"]
    assert "body, pyramid, proposal head" in row.stages
    assert (row.overlapped, row.peak_bytes) == (None, None)  # those are of a GPU
    assert "96x64, batch 1, 3 detections a picture" in str(table)
    assert "x as fast as torchvision eager" in str(table)


def test_batches_under_way_are_all_finished(
    small_network: MaskRCNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(small_network, place("cpu", "fp32"), score_threshold=0.99, depth=2)
    finished = []
    monkeypatch.setattr(Found, "instances", lambda found: finished.append(found.size))

    assert overlapped_seconds(engine, [np.zeros((40, 60, 3), np.uint8)], 5) > 0
    assert finished == [(40, 60)] * 5


def test_the_largest_batch_is_found_by_doubling(
    small_network: MaskRCNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(small_network, place("cpu", "fp32"), score_threshold=0.99)
    tried = []

    def run(images: list[np.ndarray]) -> None:
        tried.append(len(images))
        if len(images) > room:
            raise torch.OutOfMemoryError

    monkeypatch.setattr(engine, "run", run)
    image = np.zeros((4, 4, 3), np.uint8)
    room = 5
    assert largest_batch(engine, image) == 4
    assert tried == [1, 2, 4, 8]
    room = 0
    assert largest_batch(engine, image) == 0
    room = 99
    assert largest_batch(engine, image, most=16) == 16
