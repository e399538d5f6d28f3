"""What is published about SOLOv2; see NOTICE and docs/models.md."""

from __future__ import annotations

from functools import partial

from pipeline.models.shared.family import ModelCard

_NON_COMMERCIAL = (
    "of AdelaiDet and WXinlong/SOLO: as their code, non-commercial purposes only, commercial use "
    "by arrangement with the authors"
)
_FREE = "; of OpenMMLab: Apache-2.0, as the project: no other statement"
_OWN = "your own copy: --weights FILE.pth; nothing is fetched"
_Card = partial(
    ModelCard,
    code_licence="Apache-2.0; written from the paper, no publisher's code in it",
)

R50 = _Card(
    mask_ap=37.5,
    ap_source=(
        "OpenMMLab and WXinlong/SOLO, 3x, COCO val2017; AdelaiDet's 3x 37.6, the 1x files 34.8"
    ),
    weights_licence=_NON_COMMERCIAL + _FREE,
    weights_from=_OWN,
    files=(
        "solov2_r50_fpn_3x_coco_20220512_125856-fed092d4.pth",
        "solov2_r50_fpn_1x_coco_20220512_125858-a357fa23.pth",
        "SOLOv2_R50_3x.pth",
        "SOLOv2_R50_1x.pth",
    ),
)
R101 = _Card(
    mask_ap=39.1,
    ap_source="WXinlong/SOLO, 3x, COCO val2017; AdelaiDet's 39.0",
    weights_licence=_NON_COMMERCIAL,
    weights_from=_OWN,
    files=("SOLOv2_R101_3x.pth",),
)
LIGHT_R50 = _Card(
    mask_ap=33.7,
    ap_source="WXinlong/SOLO, 448 pixels, 3x, COCO val2017",
    weights_licence=_NON_COMMERCIAL,
    weights_from=_OWN,
    files=("SOLOv2_LIGHT_448_R50_3x.pth",),
)
