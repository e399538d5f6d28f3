"""What is published about the YOLACTs; see NOTICE and docs/models.md."""

from __future__ import annotations

from functools import partial

from pipeline.models.shared.family import ModelCard

_Card = partial(
    ModelCard,
    code_licence="MIT; written from the papers, no published code in it",
    weights_licence="MIT, as the code: no other statement",
    weights_from="your own copy: --weights FILE.pth; nothing is fetched",
)
_ONE = "the authors' table, COCO test-dev (not val2017)"
_TWO = "the authors' table of YOLACT++, COCO test-dev (not val2017)"

R50 = _Card(mask_ap=28.2, ap_source=_ONE, files=("yolact_resnet50_54_800000.pth",))
R101 = _Card(mask_ap=29.8, ap_source=_ONE, files=("yolact_base_54_800000.pth",))
DARKNET53 = _Card(mask_ap=28.7, ap_source=_ONE, files=("yolact_darknet53_54_800000.pth",))
R101_700 = _Card(mask_ap=31.2, ap_source=_ONE, files=("yolact_im700_54_800000.pth",))
PLUS_R50 = _Card(mask_ap=34.1, ap_source=_TWO, files=("yolact_plus_resnet50_54_800000.pth",))
PLUS_R101 = _Card(mask_ap=34.6, ap_source=_TWO, files=("yolact_plus_base_54_800000.pth",))
