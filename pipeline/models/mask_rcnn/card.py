"""What is published about the Mask R-CNNs; see NOTICE and docs/model-card.md."""

from __future__ import annotations

from pipeline.models.shared.family import ModelCard

_CODE = "BSD-3-Clause"
_TABLE = "torchvision's table of weights, COCO val2017"
_FETCHED = "fetched from download.pytorch.org at first use, then kept; needs a network once"

V1 = ModelCard(
    mask_ap=34.6,
    ap_source=_TABLE,
    code_licence=_CODE,
    weights_licence="BSD-3-Clause, as the code: no other statement",
    weights_from=_FETCHED,
    files=("maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",),
)
V2 = ModelCard(
    mask_ap=41.8,
    ap_source=_TABLE,
    code_licence=_CODE,
    weights_licence="BSD-3-Clause, as the code: no other statement",
    weights_from=_FETCHED,
    files=("maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",),
)
DEMO = ModelCard(
    code_licence=_CODE,
    weights_licence="Apache-2.0",
    weights_from="bundled; they know the synthetic street and nothing else",
    files=("demo.safetensors",),
)


def _zoo(mask_ap: float, file: str) -> ModelCard:
    return ModelCard(
        mask_ap=mask_ap,
        ap_source="detectron2's model zoo, COCO val2017, 3x schedule",
        code_licence="Apache-2.0",
        weights_licence="CC BY-SA 3.0",
        weights_from=f"detectron2's model zoo: --weights {file}; or your own",
        files=(file,),
    )


R101 = _zoo(38.6, "model_final_a3ec72.pkl")
X101 = _zoo(39.5, "model_final_2d9806.pkl")
