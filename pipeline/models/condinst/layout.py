"""The layouts CondInst is published in, told from names and shapes alone; no torch."""

from __future__ import annotations

import re
from collections.abc import Callable

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


def _level(prefix: str) -> Callable[[re.Match[str]], str]:
    """The pyramid begins at p3."""
    return lambda found: f"{prefix}{int(found[1]) + 3}."


_BODY, _FPN, _CONV = r"backbone\.body\..*", r"backbone\.fpn\.", r"\.(\d)\.([01])\."
_FCOS = "proposal_generator.fcos_head."
_FEATURES = "mask_head.mask_feature_head."

ADELAIDET = PublishedLayout(
    publisher="AdelaiDet",
    body_of=detectron2.body_of,
    rules=(
        (_BODY, as_body(detectron2.body_name)),
        (rf"{_FPN}inner_blocks\.(\d)\.0\.", _level("backbone.fpn_lateral")),
        (rf"{_FPN}layer_blocks\.(\d)\.0\.", _level("backbone.fpn_output")),
        (rf"{_FPN}extra_blocks\.", "backbone.top_block."),
        (f"class_tower{_CONV}", in_row(f"{_FCOS}cls_tower.")),
        (f"box_tower{_CONV}", in_row(f"{_FCOS}bbox_tower.")),
        (r"classes\.", f"{_FCOS}cls_logits."),
        (r"distances\.", f"{_FCOS}bbox_pred."),
        (r"centreness\.", f"{_FCOS}ctrness."),
        (r"scales\.(\d)", rf"{_FCOS}scales.\1.scale"),
        (r"numbers\.", "controller."),
        (r"refine\.", "mask_branch.refine."),
        (r"mask_tower\.", "mask_branch.tower."),
        (r"features\.", "mask_branch.tower.4."),
    ),
    extra=(
        r"mask_branch\.(seg_head|logits)\.|mask_head\.(sizes_of_interest|_iter)$|pixel_(mean|std)$"
    ),
)
OPENMMLAB = PublishedLayout(
    publisher="OpenMMLab",
    body_of=openmmlab.body_of,
    rules=(
        (rf"{_FPN}extra_blocks\.p6\.", "neck.fpn_convs.3.conv."),
        (rf"{_FPN}extra_blocks\.p7\.", "neck.fpn_convs.4.conv."),
        (r"backbone\..*", as_body(openmmlab.body_name)),
        (f"class_tower{_CONV}", conv_and("gn", "bbox_head.cls_convs.{}.")),
        (f"box_tower{_CONV}", conv_and("gn", "bbox_head.reg_convs.{}.")),
        (r"classes\.", "bbox_head.conv_cls."),
        (r"distances\.", "bbox_head.conv_reg."),
        (r"centreness\.", "bbox_head.conv_centerness."),
        (r"scales\.(\d)", r"bbox_head.scales.\1.scale"),
        (r"numbers\.", "bbox_head.controller."),
        (f"refine{_CONV}", conv_and("bn", _FEATURES + "convs_all_levels.{0}.conv{0}.")),
        (f"mask_tower{_CONV}", conv_and("bn", _FEATURES + "conv_branch.{}.")),
        (r"features\.", f"{_FEATURES}conv_pred."),
    ),
)
LAYOUTS = (ADELAIDET, OPENMMLAB)
BODIES = ("resnet50", "resnet101")


def layout_of(shapes: Shapes) -> PublishedLayout | None:
    """The layout of a file; None: it is no CondInst."""
    return layout_among(LAYOUTS, ("classes.weight", "numbers.weight"), shapes)


def recognise(shapes: Shapes) -> str | None:
    """The model a file belongs to; None: it is none of these."""
    layout = layout_of(shapes)
    body = layout.body_of(shapes) if layout else None
    return f"condinst_{body}_fpn" if body in BODIES else None


def count_classes(shapes: Shapes) -> int:
    """Rows of the class head of a file in one of the layouts; 0: it has none."""
    return rows_of(layout_of(shapes), "classes.weight", shapes)
