"""Networks and pictures for the tests of the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.models.files import DEMO_FILE
from pipeline.models.zoo import build_network
from pipeline.sources import open_source


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share the cores with others; one thread each is faster than two that wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _randomise(network: MaskRCNN, seed: int = 0) -> MaskRCNN:
    """Random weights that mean something: moderate features, many classes, scores up to nearly 1.

    Filters come in pairs of opposite sign over neighbouring inputs, so that they answer to
    differences and not to the common mean of rectified features; norms have statistics of their
    own; the heads are scaled so that scores and boxes spread.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    gains = {"cls_logits": 1.0, "cls_score": 8.0, "bbox_pred": 2.0, "mask_fcn_logits": 6.0}
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
                fan = module.weight[0].numel()
                if isinstance(module, nn.ConvTranspose2d):
                    fan = module.weight.shape[0]
                bound = gains.get(name.rpartition(".")[2], 1.4) * (3.0 / fan) ** 0.5
                uniform(module.weight, -bound, bound)
                half = module.weight.shape[1] // 2
                module.weight[:, 1 : 2 * half : 2] = -module.weight[:, 0 : 2 * half : 2]
                if module.bias is not None:
                    uniform(module.bias, -0.2, 0.2)
            elif isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
                uniform(module.weight, 0.4, 0.8)
                uniform(module.bias, -0.2, 0.2)
                uniform(module.running_mean, -0.2, 0.2)
                uniform(module.running_var, 0.5, 1.5)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def randomise() -> Callable[..., MaskRCNN]:
    """`randomise(network, seed=0)`: see above."""
    return _randomise


@pytest.fixture(scope="session")
def small_network() -> MaskRCNN:
    """The small architecture with random weights of 8 classes."""
    network = build_network(
        "maskrcnn_resnet18_fpn", num_classes=9, min_size=160, max_size=288, box_score_thresh=0.1
    )
    return _randomise(network)


@pytest.fixture(scope="session")
def demo_network() -> Callable[[int, int], MaskRCNN]:
    """`demo_network(min_size, max_size)`: the bundled weights."""
    if not DEMO_FILE.exists():
        pytest.skip("the bundled weights are not in this checkout")
    from pipeline.models.files import read_weights
    from pipeline.models.weights import load_network

    def build(min_size: int, max_size: int) -> MaskRCNN:
        network = load_network("maskrcnn_resnet18_fpn", read_weights("demo"))
        network.transform.min_size, network.transform.max_size = (min_size,), max_size
        network.roi_heads.score_thresh = 0.1
        return network

    return build


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
