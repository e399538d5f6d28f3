"""What a file of YOLACT's layout is of, told from names and shapes alone; no torch."""

from __future__ import annotations

import re

from pipeline.errors import ModelError
from pipeline.models.shared.family import Shapes
from pipeline.models.yolact.designs import DESIGNS

_BOXES = "prediction_layers.0.bbox_layer.weight"
_CLASSES = "prediction_layers.0.conf_layer.weight"
_LAST_BLOCK = re.compile(r"backbone\.layers\.2\.(\d+)\.")
_UNUSED = re.compile(
    r"semantic_seg_conv\.|backbone\.layer\d\.|fpn\.downsample_layers\.([2-9]|\d\d)"
)


def recognise(shapes: Shapes) -> str | None:
    """The model, by its body and by what it does beyond YOLACT; None: it is none.

    Nothing in a file tells pictures of 700 pixels from those of 550: these are taken for granted.
    """
    if _BOXES not in shapes or "proto_net.0.weight" not in shapes:
        return None
    kind = "yolact_plus" if "maskiou_net.maskiou_net.0.weight" in shapes else "yolact"
    if "backbone._preconv.0.weight" in shapes:
        body = "darknet53"
    else:
        found = (_LAST_BLOCK.match(name) for name in shapes)
        blocks = 1 + max((int(match[1]) for match in found if match), default=0)
        body = "resnet101" if blocks > _blocks("yolact_resnet50") else "resnet50"
    name = f"{kind}_{body}"
    return name if name in DESIGNS else None


def _blocks(name: str) -> int:
    return DESIGNS[name].blocks[2]


def layers(name: str) -> tuple[object, ...]:
    """What a model's tensors are told from those of the others by."""
    design = DESIGNS[name]
    return design.blocks, design.darknet, design.rescored


def count_classes(shapes: Shapes, origin: str) -> int:
    """Rows of the class head for one prior, background included; how many priors the box head says.

    Raises:
        ModelError: there is no such head.
    """
    boxes, rows = shapes.get(_BOXES, ()), shapes.get(_CLASSES, ())
    if len(rows) != 4 or len(boxes) != 4:
        raise ModelError(
            f"weights {origin}: no {_BOXES} and {_CLASSES} of four axes among {len(shapes)} "
            "tensors; expected the parameters of YOLACT"
        )
    priors = max(1, boxes[0] // 4)
    classes, rest = divmod(rows[0], priors)
    if rest or classes < 2:
        raise ModelError(
            f"weights {origin}: {_CLASSES} has {rows[0]} rows, expected the background's and one a "
            f"class for each of {priors} priors"
        )
    return classes


def is_unused(name: str) -> bool:
    """Whether it is known to be in such files and not needed.

    A head for training; and what the first version also wrote: the stages of the body once more,
    and layers of the pyramid nobody used.
    """
    return _UNUSED.match(name) is not None


def name_in_file(own: str) -> str:
    """What a tensor of ours is called in the file: its stages are counted from 0."""
    own = own.replace("backbone.preconv.", "backbone._preconv.")
    return re.sub(
        r"^backbone\.layer(\d)\.", lambda stage: f"backbone.layers.{int(stage[1]) - 1}.", own
    )
