"""What is published about Cascade Mask R-CNN."""

from __future__ import annotations

from pipeline.models.shared.family import ModelCard

_FILE = "model_final_480dd8.pkl"

R50 = ModelCard(
    mask_ap=38.5,
    ap_source="detectron2's model zoo, COCO val2017, 3x schedule",
    code_licence="Apache-2.0",
    weights_licence="CC BY-SA 3.0",
    weights_from=f"detectron2's model zoo: --weights {_FILE}; or your own",
    files=(_FILE,),
)
