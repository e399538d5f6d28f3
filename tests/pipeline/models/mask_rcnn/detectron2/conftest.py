"""detectron2's Mask R-CNN R50 with its recorded outputs, stage by stage."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models.detection import MaskRCNN

from pipeline.models.mask_rcnn.detectron2.preprocess import ShortestEdge, prepare
from pipeline.models.mask_rcnn.detectron2.weights import load_mask_rcnn
from pipeline.models.mask_rcnn.engine.operators.preprocess import Batch
from pipeline.models.shared.pth import stored_tensors
from tests.pipeline.models.golden import Golden


@pytest.fixture(scope="session")
def folders(shared_data: Path) -> Callable[[str], Golden]:
    """`folders(name)`: one folder of recorded outputs."""

    def get(name: str) -> Golden:
        path = shared_data / "golden" / name
        if not path.is_dir():
            pytest.skip(f"no recorded outputs at {path}")
        return Golden(path)

    return get


@pytest.fixture(scope="session")
def golden(folders: Callable[[str], Golden]) -> Golden:
    return folders("d2_mask_rcnn_r50_fpn")


@pytest.fixture(scope="session")
def published(golden: Golden) -> bytes:
    """A file as its zoo has them, of before 2021: constants beside the weights."""
    return pickle.dumps({"model": golden.state(extras=True), "__author__": "somebody"})


@pytest.fixture(scope="session")
def network(published: bytes) -> MaskRCNN:
    return load_mask_rcnn("maskrcnn_resnet50_fpn", stored_tensors(published, "own"), "own")


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., Batch]:
    """`batch_of(golden, case, network)`: the picture as it is, results at the recorded size."""

    def make(golden: Golden, case: str, network: MaskRCNN, **change: tuple[float, ...]) -> Batch:
        picture = golden.picture(case)
        rules = ShortestEdge.of(network)
        values = {"mean": rules.mean, "std": rules.std, **change}
        batch = prepare(
            [picture], ShortestEdge(min(picture.shape[:2]), 10_000, **values), torch.float32
        )
        return Batch(batch.pixels, batch.sizes, torch.tensor([golden.output_size(case)]).float())

    return make


@pytest.fixture(scope="session")
def to_rows() -> Callable[..., np.ndarray]:
    """`to_rows(levels, columns)`: (B, H * W * A, columns) of the proposal head's levels."""

    def rows(levels: list[torch.Tensor], first: int, last: int, width: int) -> np.ndarray:
        parts = [level[0, :, first:last].reshape(-1, width) for level in levels]
        return torch.cat(parts).numpy()

    return rows
