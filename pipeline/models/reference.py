"""torchvision's own forward, stopped before it pastes masks into full pictures.

The oracle of the engine's parity tests and the baseline of its benchmarks; not used to serve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.transform import resize_boxes

from pipeline.models.found import Found


def to_torchvision(image: NDArray[np.uint8]) -> Tensor:
    """A picture uint8 (H, W, 3) BGR as torchvision wants it: float32 (3, H, W) RGB in [0, 1]."""
    rgb = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))
    return torch.from_numpy(rgb).float() / 255.0


def torchvision_forward(network: MaskRCNN, images: Sequence[NDArray[np.uint8]]) -> list[Found]:
    """What torchvision finds in the pictures, in the order of its own results.

    Args:
        network: in evaluation mode; its `roi_heads.score_thresh` is the score threshold.
        images: uint8 (H, W, 3) BGR.
    """
    device = next(network.parameters()).device
    with torch.inference_mode():
        inputs, _ = network.transform([to_torchvision(image).to(device) for image in images])
        features = network.backbone(inputs.tensors)
        proposals, _ = network.rpn(inputs, features)
        results, _ = network.roi_heads(features, proposals, inputs.image_sizes)
        return [
            Found(
                resize_boxes(result["boxes"], list(size), list(image.shape[:2])).cpu().numpy(),
                result["scores"].cpu().numpy(),
                result["labels"].cpu().numpy(),
                result["masks"][:, 0].float().cpu().numpy(),
                (image.shape[0], image.shape[1]),
            )
            for result, size, image in zip(results, inputs.image_sizes, images, strict=True)
        ]
