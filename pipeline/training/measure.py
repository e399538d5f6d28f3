"""Mask AP of a network on streets it was never trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import MaskRCNN

from pipeline.evaluation import average_precision
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.sources.street import LABELS
from pipeline.sources.street.scene import StreetScene
from pipeline.training.settings import TrainSettings

Case = tuple[NDArray[np.uint8], Instances]


def unseen_frames(settings: TrainSettings) -> Iterator[Case]:
    """Frames of the streets set aside for measuring."""
    check, data = settings.check, settings.data
    for seed in range(check.first_seed, check.first_seed + check.seeds):
        scene = StreetScene(seed, (data.height, data.width))
        for i in range(check.frames_per_seed):
            yield scene.frame(i * check.frame_step)


def mask_ap(network: MaskRCNN, cases: Iterable[Case]) -> dict[str, float]:
    """COCO mask AP (0.5:0.95) over all, at 0.5, at 0.75, by object size, and of each class."""
    pairs = (average_precision.Pair(truth, _found(network, image)) for image, truth in cases)
    judged = average_precision.mask_ap(pairs, LABELS)
    return {**judged.overall, **judged.by_class}


@torch.inference_mode()
def _found(network: MaskRCNN, image: NDArray[np.uint8]) -> Instances:
    rgb = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))
    device = next(network.parameters()).device
    (answer,) = network([torch.from_numpy(rgb).to(device).float().div_(255)])
    masks = Masks.from_dense((answer["masks"][:, 0] > 0.5).cpu().numpy())
    return Instances(
        boxes=masks.boxes().astype(np.float32),
        scores=answer["scores"].cpu().numpy(),
        class_ids=answer["labels"].cpu().numpy(),
        masks=masks,
    )
