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
OWN = ModelCard(
    code_licence=_CODE,
    weights_from="your own: --weights FILE.safetensors or FILE.pth",
)
