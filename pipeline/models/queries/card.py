"""What is published about the models of the library transformers."""

from __future__ import annotations

from pipeline.models.shared.family import ModelCard

_CODE = "Apache-2.0"
_HUB = "from the hub of Hugging Face at first use, then from its cache; or a folder"
_RFDETR = "RF-DETR's table of segmentation models, COCO val2017"


def rfdetr(mask_ap: float, name: str) -> ModelCard:
    """The card of one published size of RF-DETR-Seg."""
    return ModelCard(
        mask_ap=mask_ap,
        ap_source=_RFDETR,
        code_licence=_CODE,
        weights_licence="Apache-2.0",
        weights_from=_HUB,
        files=(name,),
    )


RFDETR = ModelCard(code_licence=_CODE, weights_licence="Apache-2.0", weights_from=_HUB)
EOMT = ModelCard(
    mask_ap=45.2,
    ap_source="EoMT's model zoo, COCO val2017, EoMT-L at 640",
    code_licence=f"{_CODE} (the authors' MIT)",
    weights_licence="MIT; DINOv3 bodies have a licence of their own",
    weights_from=_HUB,
    files=("tue-mps/coco_instance_eomt_large_640",),
)
MASK2FORMER = ModelCard(
    mask_ap=45.0,
    ap_source="Mask2Former's model zoo, COCO val2017, Swin-T; Swin-S 46.3, Swin-L 50.1",
    code_licence=f"{_CODE} (the authors' MIT)",
    weights_licence="CC BY-NC 4.0: not for commercial use",
    weights_from=_HUB,
    files=(
        "facebook/mask2former-swin-tiny-coco-instance",
        "facebook/mask2former-swin-small-coco-instance",
        "facebook/mask2former-swin-large-coco-instance",
    ),
)
MASKFORMER = ModelCard(
    code_licence=f"{_CODE} (the authors' CC BY-NC 4.0)",
    weights_licence="CC BY-NC 4.0: not for commercial use",
    weights_from=_HUB,
    files=("facebook/maskformer-swin-base-coco",),
)
ONEFORMER = ModelCard(
    mask_ap=49.0,
    ap_source="OneFormer's table, COCO val2017, Swin-L",
    code_licence=f"{_CODE} (the authors' MIT)",
    weights_licence="MIT",
    weights_from=_HUB,
    files=("shi-labs/oneformer_coco_swin_large",),
)
