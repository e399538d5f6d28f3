"""detectron2's Mask R-CNN R50 with its recorded outputs, stage by stage."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from torchvision.models.detection import MaskRCNN

from pipeline.models.mask_rcnn.detectron2.weights import load_mask_rcnn
from pipeline.models.shared.pth import stored_tensors
from tests.pipeline.models.golden import Golden, folder_of


@pytest.fixture(scope="session")
def golden(shared_data: Path) -> Golden:
    return folder_of(shared_data, "d2_mask_rcnn_r50_fpn")


@pytest.fixture(scope="session")
def published(golden: Golden) -> bytes:
    """A file as its zoo has them, of before 2021: constants beside the weights."""
    return pickle.dumps({"model": golden.state(extras=True), "__author__": "somebody"})


@pytest.fixture(scope="session")
def network(published: bytes) -> MaskRCNN:
    return load_mask_rcnn("maskrcnn_resnet50_fpn", stored_tensors(published, "own"), "own")
