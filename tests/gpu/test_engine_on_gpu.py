"""The engine on a CUDA device: its kernels against their twins, and torchvision beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models.detection import MaskRCNN

from pipeline.models.bench import network_for, noise
from pipeline.models.devices import place
from pipeline.models.engine import kernels
from pipeline.models.engine.engine import Engine
from pipeline.models.files import DEMO_FILE, read_weights
from pipeline.models.reference import torchvision_forward
from pipeline.models.weights import load_network
from pipeline.sources import open_source

pytestmark = pytest.mark.gpu
NAME = "maskrcnn_resnet18_fpn"


@pytest.fixture(scope="module")
def network() -> MaskRCNN:
    if not DEMO_FILE.exists():
        pytest.skip("the bundled weights are not in this checkout")
    loaded = load_network(NAME, read_weights("demo"))
    loaded.roi_heads.score_thresh = 0.1
    return loaded


@pytest.fixture(scope="module")
def streets() -> list[np.ndarray]:
    source = open_source("synthetic://street?seed=31&frames=32&size=960x540", source_id="street")
    return [frame.image for frame in source.frames()]


def test_every_kernel_is_right_on_this_device_and_used(cuda: torch.device) -> None:
    chosen = kernels.kernels_for(cuda)

    assert chosen.paste is not None
    assert chosen.nms is not kernels.nms
    assert chosen.roi_align is not kernels.roi_align
    assert chosen.prepare is not kernels.prepare


def test_in_float32_the_detections_are_those_of_torchvision(
    cuda: torch.device,
    network: MaskRCNN,
    streets: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    engine = Engine(network, place("cuda", "fp32"), score_threshold=0.1)
    theirs = [torchvision_forward(network, [image])[0].instances() for image in streets]

    ours = [found.instances() for found in engine.run(streets)]

    total = matched = 0
    for mine, other in zip(ours, theirs, strict=True):
        total += len(other)
        iou = mine.masks.iou(other.masks)
        same = mine.class_ids[:, None] == other.class_ids[None, :]
        near = np.abs(mine.boxes[:, None] - other.boxes[None]).max(axis=2) < 0.1
        matched += int(((iou > 0.995) & same & near).any(axis=0).sum())
    assert total > 100
    assert matched >= 0.99 * total


def test_a_second_pass_replays_and_gives_the_same(
    cuda: torch.device, network: MaskRCNN, streets: list[np.ndarray]
) -> None:
    engine = Engine(network, place("cuda"), score_threshold=0.1)
    first, *_, last = (engine.run(streets[:4]) for _ in range(4))

    for a, b in zip(first, last, strict=True):
        assert np.array_equal(a.scores, b.scores)
        assert np.array_equal(a.instances().masks.counts, b.instances().masks.counts)


def test_a_pass_waits_once_before_the_copy(
    cuda: torch.device, network: MaskRCNN, streets: list[np.ndarray]
) -> None:
    engine = Engine(network, place("cuda"), score_threshold=0.1)
    engine.run(streets[:8])
    with torch.inference_mode():
        batch = engine._kernels.prepare(streets[:8], engine.input_rules, torch.float16, cuda)
        bucket = engine._bucket(batch)
        torch.cuda.set_sync_debug_mode("error")
        try:
            outputs = engine._until_detections(bucket, None, batch.pixels, batch.sizes)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert int(outputs[-1]) > 0


def test_memory_does_not_grow(cuda: torch.device) -> None:
    network = network_for("maskrcnn_resnet50_fpn")
    engine = Engine(network, place("cuda"), score_threshold=0.5)
    images = noise((480, 640), 8)
    engine.run(images)
    engine.run(images)
    before = torch.cuda.memory_allocated()
    for _ in range(50):
        engine.run(images)

    assert torch.cuda.memory_allocated() <= before + 2**20
