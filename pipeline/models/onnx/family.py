"""`--model onnx:FILE.onnx`, without onnxruntime before it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.models.onnx.reference import about, read, recognise, settle
from pipeline.models.shared.family import Family, Model, ModelCard, Reference

if TYPE_CHECKING:
    from pipeline.models.shared.files import WeightsFile
    from pipeline.stages import Segmenter

MODEL = Model(
    "onnx",
    "pipeline.models.onnx.family:FAMILY",
    "an exported model: --model onnx:FILE.onnx (docs/models.md)",
    card=ModelCard(
        code_licence="MIT (onnxruntime)",
        weights_licence="as who made them says",
        weights_from="a file of torchvision, detectron2, mmdeploy, RF-DETR or a YOLO-seg exporter",
    ),
)


def _load(name: str, file: WeightsFile, **options: Any) -> Segmenter:
    from pipeline.models.onnx.segmenter import load_onnx

    return load_onnx(name, file, **options)


FAMILY = Family(
    load=_load,
    reference=Reference(
        what="a file that ends in .onnx",
        settle=settle,
        read=read,
        about=about,
        recognise=recognise,
    ),
    needs=("onnxruntime", "onnx"),
)
