"""The published layout of COCO_V1, from a .pth file to masks, against recorded reference outputs.

The weights are random but reproducible, and in every norm some channels have so small a variance
that a wrong eps would change everything.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.masks import Masks
from pipeline.models import choose, model_labels
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.weights import load_network
from pipeline.models.shared.devices import place
from pipeline.models.shared.files import read_weights
from pipeline.models.shared.labels import COCO_LABELS
from tests.pipeline.models.golden import state_of

NAME = "maskrcnn_resnet50_fpn"


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    path = shared_data / "golden" / "tv_mask_rcnn_r50_fpn_v1"
    if not path.is_dir():
        pytest.skip(f"no recorded outputs at {path}")
    return path


@pytest.fixture(scope="module")
def checkpoint(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights as a file in the layout torchvision publishes."""
    state = state_of(folder)
    path = tmp_path_factory.mktemp("golden") / "maskrcnn.pth"
    torch.save({key: torch.from_numpy(value) for key, value in state.items()}, path)
    return str(path)


@pytest.mark.slow
def test_a_published_file_gives_the_recorded_detections_and_masks(
    folder: Path, checkpoint: str
) -> None:
    assert choose(None, checkpoint) == (NAME, checkpoint)
    assert model_labels(NAME, checkpoint) == COCO_LABELS
    network = load_network(NAME, read_weights(checkpoint))
    network.transform.min_size, network.transform.max_size = (200,), 320
    engine = Engine(network, place("cpu", "fp32"), score_threshold=0.05)
    pictures = np.load(folder / "input.npz")
    golden = np.load(folder / "golden.npz")
    recorded = json.loads((folder / "masks.json").read_text())

    for case in ("0", "1"):
        (found,) = engine.run([pictures[f"{case}.image"]])
        height, width = found.size
        masks = Masks.paste(found.probabilities, found.boxes, found.size)
        expected = Masks.from_coco(
            [{"size": [height, width], "counts": row["counts"]} for row in recorded[case]],
            found.size,
        )
        near = np.abs(found.boxes[:, None] - golden[f"{case}.boxes"][None]).max(axis=2) < 0.02
        near &= found.classes[:, None] == golden[f"{case}.classes"][None]
        near &= np.abs(found.scores[:, None] - golden[f"{case}.scores"][None]) < 1e-3
        same = masks.iou(expected) >= 0.98
        same |= (masks.areas() == 0)[:, None] & (expected.areas() == 0)[None]

        assert near.any(axis=0).sum() >= 98
        assert (near & same).any(axis=0).sum() >= 97
