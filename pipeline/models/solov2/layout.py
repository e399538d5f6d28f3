"""The layouts SOLOv2 is published in, told from names and shapes alone; no torch."""

from __future__ import annotations

from pipeline.models.shared import detectron2, openmmlab
from pipeline.models.shared.family import Shapes
from pipeline.models.shared.published import (
    PublishedLayout,
    as_body,
    conv_and,
    in_row,
    layout_among,
    rows_of,
)

_ANY, _CONV, _LEVEL = r"backbone\..*", r"\.(\d)\.([01])\.", r"mask_levels\.(\d)\.(\d)\.([01])\."
_FEATURES = "mask_head.mask_feature_head."

ADELAIDET = PublishedLayout(
    publisher="AdelaiDet",
    body_of=detectron2.body_of,
    rules=(
        (_ANY, as_body(detectron2.body_name)),
        (f"category_tower{_CONV}", in_row("ins_head.cate_tower.")),
        (f"kernel_tower{_CONV}", in_row("ins_head.kernel_tower.")),
        (r"category\.", "ins_head.cate_pred."),
        (r"kernel\.", "ins_head.kernel_pred."),
        (_LEVEL, r"mask_head.convs_all_levels.\1.conv\2.\3."),
        (r"mask_features\.", "mask_head.conv_pred."),
    ),
    extra=r"pixel_(mean|std)$",
)
SOLO = PublishedLayout(
    publisher="WXinlong/SOLO",
    body_of=openmmlab.body_of,
    rules=(
        (_ANY, as_body(openmmlab.body_name)),
        (f"category_tower{_CONV}", conv_and("gn", "bbox_head.cate_convs.{}.")),
        (f"kernel_tower{_CONV}", conv_and("gn", "bbox_head.kernel_convs.{}.")),
        (r"category\.", "bbox_head.solo_cate."),
        (r"kernel\.", "bbox_head.solo_kernel."),
        (_LEVEL, conv_and("gn", "mask_feat_head.convs_all_levels.{}.conv{}.")),
        (r"mask_features\.([01])\.", conv_and("gn", "mask_feat_head.conv_pred.0.")),
    ),
)
OPENMMLAB = PublishedLayout(
    publisher="OpenMMLab",
    body_of=openmmlab.body_of,
    rules=(
        (_ANY, as_body(openmmlab.body_name)),
        (f"category_tower{_CONV}", conv_and("gn", "mask_head.cls_convs.{}.")),
        (f"kernel_tower{_CONV}", conv_and("gn", "mask_head.kernel_convs.{}.")),
        (r"category\.", "mask_head.conv_cls."),
        (r"kernel\.", "mask_head.conv_kernel."),
        (_LEVEL, conv_and("gn", _FEATURES + "convs_all_levels.{}.conv{}.")),
        (r"mask_features\.([01])\.", conv_and("gn", _FEATURES + "conv_pred.")),
    ),
)
LAYOUTS = (ADELAIDET, SOLO, OPENMMLAB)
BODIES = ("resnet50", "resnet101")
LIGHT, LIGHT_KERNEL = "solov2_light_resnet50_fpn", 128
"""Half as many numbers in a kernel, and towers half as wide and deep."""


def layout_of(shapes: Shapes) -> PublishedLayout | None:
    """The layout of a file; None: it is no SOLOv2."""
    return layout_among(LAYOUTS, ("category.weight", "kernel.weight"), shapes)


def recognise(shapes: Shapes) -> str | None:
    """The model a file belongs to; None: it is none of these."""
    layout = layout_of(shapes)
    if layout is None or any(".conv_offset." in name for name in shapes):  # deformable
        return None
    body = layout.body_of(shapes)
    if body not in BODIES:
        return None
    if list(shapes[layout.called("kernel.weight")])[:1] != [LIGHT_KERNEL]:
        return f"solov2_{body}_fpn"
    return LIGHT if body == "resnet50" else None


def count_classes(shapes: Shapes) -> int:
    """Rows of the class head of a file in one of the layouts; 0: it has none."""
    return rows_of(layout_of(shapes), "category.weight", shapes)
