"""torchvision's own forward, with its masks in full pictures or before that; random weights for it.

The oracle of the engine's parity tests and the baseline of its benchmarks; not used to serve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.masks import Masks
from pipeline.models.mask_rcnn.bench import to_torchvision
from pipeline.models.mask_rcnn.found import Found

_GAINS = {"cls_logits": 1.0, "cls_score": 8.0, "bbox_pred": 2.0, "mask_fcn_logits": 6.0}


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


def torchvision_masks(network: MaskRCNN, image: NDArray[np.uint8]) -> Found:
    """What torchvision finds in a picture, by all of its forward: masks in full size, above 0.5."""
    with torch.inference_mode():
        (result,) = network([to_torchvision(image)])
    size = (image.shape[0], image.shape[1])
    dense = (result["masks"][:, 0] > 0.5).numpy()
    return Found(
        result["boxes"].numpy(),
        result["scores"].numpy(),
        result["labels"].numpy(),
        np.zeros((0, 0, 0), np.float32),
        size,
        Masks.from_dense(dense.reshape(-1, *size)),
    )


def randomise(network: MaskRCNN, seed: int = 0) -> MaskRCNN:
    """Random weights that mean something: moderate features, many classes, scores up to nearly 1.

    Filters come in pairs of opposite sign over neighbouring inputs, so that they answer to
    differences and not to the common mean of rectified features; norms have statistics of their
    own; the heads are scaled so that scores and boxes spread.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
                fan = module.weight[0].numel()
                if isinstance(module, nn.ConvTranspose2d):
                    fan = module.weight.shape[0]
                bound = _GAINS.get(name.rpartition(".")[2], 1.4) * (3.0 / fan) ** 0.5
                uniform(module.weight, -bound, bound)
                half = module.weight.shape[1] // 2
                module.weight[:, 1 : 2 * half : 2] = -module.weight[:, 0 : 2 * half : 2]
                if module.bias is not None:
                    uniform(module.bias, -0.2, 0.2)
            elif isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
                uniform(module.weight, 0.4, 0.8)
                uniform(module.bias, -0.2, 0.2)
                for statistic, low, high in (
                    (module.running_mean, -0.2, 0.2),
                    (module.running_var, 0.5, 1.5),
                ):
                    if isinstance(statistic, Tensor):
                        uniform(statistic, low, high)
    return network.eval().requires_grad_(False)
