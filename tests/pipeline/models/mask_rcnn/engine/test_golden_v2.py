"""torchvision's Mask R-CNN v2 against recorded outputs, stage by stage; and each mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from pipeline.masks import Masks
from pipeline.models import model_labels
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.loading import load_any
from pipeline.models.shared.devices import place
from pipeline.models.shared.files import WeightsFile, from_bytes
from pipeline.models.shared.labels import COCO_LABELS
from tests.pipeline.models.golden import folder_of
from tests.pipeline.models.mistakes import CONTROL, OF_TORCHVISION, Made

NAME = "maskrcnn_resnet50_fpn_v2"


@pytest.fixture(scope="module")
def file(shared_data: Path) -> WeightsFile:
    golden = folder_of(shared_data, "tv_mask_rcnn_r50_fpn_v2")
    return from_bytes(save(golden.state()), "own.safetensors")


@pytest.fixture(scope="module")
def made(shared_data: Path, file: WeightsFile) -> Made:
    trained = load_any(NAME, file)
    trained.network.transform.min_size, trained.network.transform.max_size = (200,), 320
    golden = folder_of(shared_data, "tv_mask_rcnn_r50_fpn_v2")
    return Made(golden, trained.network, trained.dialect)


@pytest.mark.parametrize("change", OF_TORCHVISION)
def test_each_mistake_is_seen(made: Made, change: str) -> None:
    assert OF_TORCHVISION[change](made) is (change != CONTROL)


def test_the_recorded_detections_and_masks_are_found_as_a_set(
    made: Made, file: WeightsFile
) -> None:
    assert model_labels(NAME, file) == COCO_LABELS
    engine = Engine(made.network, place("cpu", "fp32"), score_threshold=0.05)
    for case in ("0", "1"):
        (found,) = engine.run([made.golden.picture(case)])
        masks = Masks.paste(found.probabilities, found.boxes, found.size)
        again = made.golden.found_again(case, found.boxes, found.scores, found.classes)
        alike = made.golden.alike(case, masks)
        alike |= (masks.areas() == 0)[:, None] & (made.golden.masks(case).areas() == 0)[None]
        assert again.any(axis=0).sum() >= 98
        assert (again & alike).any(axis=0).sum() >= 98
        assert np.isin(found.classes, list(COCO_LABELS)).sum() > 0
