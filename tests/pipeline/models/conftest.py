"""Networks and pictures for the tests of the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torchvision.models.detection import MaskRCNN

from benchmarks import reference
from pipeline.models.mask_rcnn.networks import build_network
from pipeline.sources import open_source


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share the cores with others; one thread each is faster than two that wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def randomise() -> Callable[..., MaskRCNN]:
    """`randomise(network, seed=0)`: random weights that mean something."""
    return reference.randomise


@pytest.fixture(scope="session")
def small_network() -> MaskRCNN:
    """The small architecture with random weights of 8 classes."""
    network = build_network(
        "maskrcnn_resnet18_fpn", num_classes=9, min_size=160, max_size=288, box_score_thresh=0.1
    )
    return reference.randomise(network)


@pytest.fixture(scope="session")
def demo_network() -> MaskRCNN:
    """The bundled weights, pictures resized as they were trained."""
    from pipeline.models import local_weights
    from pipeline.models.mask_rcnn.weights import load_network

    network = load_network("maskrcnn_resnet18_fpn", local_weights("demo"))
    network.roi_heads.score_thresh = 0.1
    return network


def _street(
    frames: int, *, seed: int = 4711, size: str = "640x360", every: int = 1
) -> list[np.ndarray]:
    """Every n-th frame of a rendered street."""
    source = open_source(
        f"synthetic://street?seed={seed}&frames={frames * every}&size={size}", source_id="street"
    )
    return [frame.image for frame in source.frames() if frame.index % every == 0]


@pytest.fixture(scope="session")
def streets() -> list[np.ndarray]:
    """25 rendered pictures of a street, 360×640."""
    return _street(25, every=4)


@pytest.fixture(scope="session")
def photos(shared_data: Path) -> list[np.ndarray]:
    """30 real photographs of various sizes."""
    files = sorted((shared_data / "coco-train" / "images").glob("*.jpg"))[:30]
    if not files:
        pytest.skip("no coco-train pictures in the test data")
    return [cv2.imread(str(file)) for file in files]
