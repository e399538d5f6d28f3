"""Every published file there is a list of: its model is told, and each tensor has its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.models import MODELS
from pipeline.models.cascade_mask_rcnn.importer import origin_of as of_cascade
from pipeline.models.cascade_mask_rcnn.network import cascade_mask_rcnn
from pipeline.models.keypoint_rcnn.importer import _network as keypoint_rcnn
from pipeline.models.keypoint_rcnn.origins import of_detectron2, of_torchvision
from pipeline.models.mask_rcnn.detectron2.layout import called
from pipeline.models.mask_rcnn.detectron2.network import mask_rcnn
from pipeline.models.pointrend.network import pointrend
from pipeline.models.pointrend.origins import origins
from pipeline.models.recognising import recognised
from pipeline.models.shared.importing import Origin

FILES = {
    "d2_mask_rcnn_r50_fpn": "maskrcnn_resnet50_fpn",
    "d2_mask_rcnn_r101_fpn": "maskrcnn_resnet101_fpn",
    "d2_mask_rcnn_x101_32x8d_fpn": "maskrcnn_resnext101_32x8d_fpn",
    "d2_cascade_mask_rcnn_r50_fpn": "cascade_mask_rcnn_resnet50_fpn",
    "d2_keypoint_rcnn_r50_fpn": "keypointrcnn_resnet50_fpn",
    "d2_keypoint_rcnn_r101_fpn": "keypointrcnn_resnet101_fpn",
    "d2_keypoint_rcnn_x101_32x8d_fpn": "keypointrcnn_resnext101_32x8d_fpn",
    "d2_pointrend_r50_fpn": "pointrend_resnet50_fpn",
    "d2_pointrend_r101_fpn": "pointrend_resnet101_fpn",
    "d2_pointrend_x101_32x8d_fpn": "pointrend_resnext101_32x8d_fpn",
    "tv_keypoint_rcnn_r50_fpn_v1": "keypointrcnn_resnet50_fpn",
    "d2_faster_rcnn_r50_fpn": None,
    "d2_faster_rcnn_x101_32x8d_fpn": None,
}


def ours(file: str, model: str, names: list[str]) -> tuple[nn.Module, Callable[[str], Origin]]:
    """A network without weights, and where its tensors come from."""
    kind, _, body = model.removesuffix("_fpn").partition("rcnn_" if "rcnn" in model else "_")
    with torch.device("meta"):
        if kind == "pointrend":
            return pointrend(body, 80), origins(names)
        if kind == "keypoint":
            network = keypoint_rcnn(body, False, 0.0, 2, 17, {})
            return network, of_detectron2 if file.startswith("d2") else of_torchvision(names)
        if kind == "cascade_mask_":
            return cascade_mask_rcnn(body, 80), of_cascade
        return mask_rcnn(body, 80), called


@pytest.mark.parametrize(("file", "model"), FILES.items(), ids=list(FILES))
def test_a_published_file(shared_data: Path, file: str, model: str | None) -> None:
    folder = shared_data / "golden"
    paths = [folder / file / "manifest.json", folder / "layouts" / f"{file}.json"]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        pytest.skip(f"no list of the tensors of {file} in {folder}")
    shapes = {row[0]: tuple(row[1]) for row in json.loads(path.read_text())["tensors"]}
    assert recognised(MODELS.values(), shapes) == model
    if model is None:
        return
    network, origin_of = ours(file, model, list(shapes))
    found = {}
    for own, tensor in network.state_dict().items():
        origin = origin_of(own)
        assert origin.name not in found
        found[origin.name] = shapes[origin.name]
        with torch.device("meta"):
            assert origin.change(torch.empty(shapes[origin.name])).shape == tensor.shape
    assert found == shapes
