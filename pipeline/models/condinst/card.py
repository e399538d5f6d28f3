"""What is published about CondInst; see NOTICE and docs/models.md."""

from __future__ import annotations

from functools import partial

from pipeline.models.shared.family import ModelCard

_NON_COMMERCIAL = (
    "of AdelaiDet: as its code, non-commercial purposes only, commercial use by arrangement with "
    "the authors"
)
_Card = partial(
    ModelCard,
    code_licence="Apache-2.0; written from the paper, no publisher's code in it",
    weights_from="your own copy: --weights FILE.pth; nothing is fetched",
)

R50 = _Card(
    mask_ap=37.5,
    ap_source=(
        "AdelaiDet, 3x, COCO val2017; with its semantic loss 38.2, the 1x file 35.7; "
        "OpenMMLab's 36.0"
    ),
    weights_licence=f"{_NON_COMMERCIAL}; of OpenMMLab: Apache-2.0, as the project: no other "
    "statement",
    files=(
        "CondInst_MS_R_50_3x.pth",
        "CondInst_MS_R_50_3x_sem.pth",
        "CondInst_MS_R_50_1x.pth",
        "condinst_r50_fpn_ms-poly-90k_coco_instance_20221129_125223-4c186406.pth",
    ),
)
R101 = _Card(
    mask_ap=38.6,
    ap_source="AdelaiDet, 3x, COCO val2017; with its semantic loss 39.8",
    weights_licence=_NON_COMMERCIAL,
    files=("CondInst_MS_R_101_3x.pth", "CondInst_MS_R_101_3x_sem.pth"),
)
