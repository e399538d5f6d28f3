"""The engine on a CUDA device: its kernels against their twins, and torchvision beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models.detection import MaskRCNN

from pipeline.models import load_segmenter
from pipeline.models.bench import network_for, noise
from pipeline.models.devices import place
from pipeline.models.engine import kernels
from pipeline.models.engine.cudnn import cudnn_usable
from pipeline.models.engine.engine import Engine
from pipeline.models.files import read_weights
from pipeline.models.mask_rcnn import MaskRcnnSegmenter
from pipeline.models.reference import torchvision_forward
from pipeline.models.weights import load_network
from pipeline.sources import open_source

pytestmark = pytest.mark.gpu
NAME = "maskrcnn_resnet18_fpn"


@pytest.fixture(scope="module")
def network() -> MaskRCNN:
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


def test_a_pass_waits_only_for_what_it_fetched(
    cuda: torch.device, network: MaskRCNN, streets: list[np.ndarray]
) -> None:
    engine = Engine(network, place("cuda"), score_threshold=0.1)
    for _ in range(engine.depth):  # every lane records its graphs
        engine.run(streets[:8])
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = engine.run(streets[:8])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sum(len(one.scores) for one in found) > 0


def test_batches_in_flight_give_what_each_gives_alone(
    cuda: torch.device, network: MaskRCNN, streets: list[np.ndarray]
) -> None:
    engine = Engine(network, place("cuda"), score_threshold=0.1)
    batches = [streets[i : i + 4] for i in range(0, 32, 4)]
    alone = [engine.run(batch) for batch in batches]

    for _ in range(3):
        under_way = [engine.submit(batch) for batch in batches]
        for one, expected in zip(under_way, alone, strict=True):
            for a, b in zip(one.result(), expected, strict=True):
                assert np.array_equal(a.scores, b.scores)
                assert np.array_equal(a.instances().masks.counts, b.instances().masks.counts)


def test_convolutions_are_fused(cuda: torch.device) -> None:
    assert cudnn_usable(cuda, torch.float16)


def test_a_batch_too_large_for_the_memory_is_halved(
    cuda: torch.device, streets: list[np.ndarray]
) -> None:
    segmenter = load_segmenter(NAME, weights="demo", device="cuda", max_batch=32)
    assert isinstance(segmenter, MaskRcnnSegmenter)
    expected = segmenter.segment(streets[:4])
    segmenter._running().forget()
    free, total = torch.cuda.mem_get_info(cuda)
    torch.cuda.set_per_process_memory_fraction(min(1.0, (total - free + 2**30) / total))
    try:
        found = segmenter.segment(streets)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    assert len(found) == 32
    assert [len(one) for one in found[:4]] == [len(one) for one in expected]


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
