"""Networks and pictures for the tests of the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_safetensors
from torchvision.models.detection import MaskRCNN

from benchmarks import reference
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.models.mask_rcnn.networks import build_network
from pipeline.models.shared.files import WeightsFile, from_bytes
from pipeline.sources import open_source
from tests.pipeline.models.golden import Folder, state_of


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


@dataclass(frozen=True)
class Golden(Folder):
    """A published layout with reproducible random weights, and what its reference made of them."""

    @cached_property
    def state(self) -> dict[str, np.ndarray]:
        """The weights by published name, in published order."""
        return state_of(self.path, extras=True)

    def file(self, names: dict[str, str] | None = None) -> WeightsFile:
        """The weights as a file; `names` are other names for some of them."""
        names = names or {}
        state = {names.get(key, key): value for key, value in self.state.items()}
        return from_bytes(save_safetensors(state), self.path.name)

    def off(self, case: str, name: str, ours: torch.Tensor) -> float:
        """How far (1, C, H, W) is from what is recorded: the largest difference."""
        values = self.places(name, ours[0]).numpy()
        return float(np.abs(values - self.arrays[f"{case}.{name}"]).max())

    def found_again(self, case: str, found: Instances) -> tuple[int, int]:
        """How many recorded detections with a mask were found exactly, and how many there are.

        Exactly: of its class (rows of the class head), with a score within 0.003, and a mask of
        which less than 1 % or at most 2 pixels are others.
        """
        masks = self.read("masks.json")[case]
        recorded = Masks.from_coco(masks, tuple(masks[0]["size"]))
        overlap = recorded.iou(found.masks)
        areas, ours = recorded.areas(), found.masks.areas()
        # intersection = overlap * union, and union = areas + ours - intersection
        common = overlap * (areas[:, None] + ours[None]) / (1 + overlap)
        other = areas[:, None] + ours[None] - 2 * common
        fits = (overlap > 0.99) | (other < 2.5)
        fits &= self.arrays[f"{case}.classes"][:, None] == found.class_ids[None]
        fits &= np.abs(self.arrays[f"{case}.scores"][:, None] - found.scores[None]) < 0.003
        there = areas > 0
        return int(fits.any(axis=1)[there].sum()), int(there.sum())


@pytest.fixture(scope="session")
def golden(shared_data: Path) -> Callable[[str], Golden]:
    """`golden(name)`: a folder of recorded outputs."""

    def of(name: str) -> Golden:
        folder = shared_data / "golden" / name
        if not folder.is_dir():
            pytest.skip(f"no recorded outputs at {folder}")
        return Golden(folder)

    return of
