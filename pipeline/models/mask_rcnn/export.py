"""Our Mask R-CNN as an ONNX file, for other runtimes: boxes, labels, scores and masks of boxes."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.transform import resize_boxes

from pipeline.errors import ConfigError, ModelError
from pipeline.models.mask_rcnn.weights import load_network
from pipeline.models.shared.files import WeightsFile, labels_for

OPSET = 17
"""Of the operators: the newest every runtime of the last years knows, RoIAlign's half pixel too."""
_EXAMPLE = (240, 320)


class Exported(nn.Module):
    """(3, H, W) RGB in [0, 1] to boxes in pixels, labels, scores and (N, 1, M, M) probabilities.

    Masks stay in their boxes: pasted into the picture, a hundred of them take gigabytes at 4K.
    """

    def __init__(self, network: MaskRCNN) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Segment one picture."""
        size = [image.shape[-2], image.shape[-1]]
        images, _ = self.network.transform([image])
        features = self.network.backbone(images.tensors)
        proposals, _ = self.network.rpn(images, features)
        (found,), _ = self.network.roi_heads(features, proposals, images.image_sizes)
        boxes = resize_boxes(found["boxes"], images.image_sizes[0], size)
        return boxes, found["labels"], found["scores"], found["masks"]


def export_onnx(name: str, file: WeightsFile) -> bytes:
    """The bytes of an ONNX file, with labels in its metadata.

    Raises:
        ModelError: the weights do not fit, or torch cannot export the network.
        ConfigError: the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(
            "export model needs onnx, which is not installed: pip install 'maskstream[onnx]'"
        ) from error
    network = load_network(name, file)
    classes = network.roi_heads.box_predictor.cls_score.out_features
    written: Any = io.BytesIO()  # torch takes it, its types say a path
    batch, sides = {0: "instances"}, {1: "height", 2: "width"}
    with warnings.catch_warnings():  # of tracing: sides are dynamic, loops are torchvision's own
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                Exported(network),
                (torch.zeros(3, *_EXAMPLE),),
                written,
                opset_version=OPSET,
                dynamo=False,
                input_names=["image"],
                output_names=["boxes", "labels", "scores", "masks"],
                dynamic_axes={"image": sides, "boxes": batch, "labels": batch, "scores": batch,
                              "masks": batch},
            )  # fmt: skip
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0][:200]
            raise ModelError(f"model {name}: torch cannot export it: {reason}") from error
    return _labelled(onnx, written.getvalue(), labels_for(file, classes), name)


def _labelled(onnx: Any, data: bytes, labels: Mapping[int, str], name: str) -> bytes:
    model = onnx.load_from_string(data)
    for key, value in (
        ("model", name),
        ("labels", json.dumps({str(i): label for i, label in labels.items()})),
    ):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    written: bytes = model.SerializeToString()
    return written
