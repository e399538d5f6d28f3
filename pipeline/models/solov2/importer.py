"""From a published file to a SOLOv2 with its weights, and to the rule for its pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.models.shared.family import Shapes
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.importing import import_published
from pipeline.models.shared.input_rule import ADELAIDET_RULE, OPENMMLAB_RULE, InputRule
from pipeline.models.shared.published import PublishedLayout
from pipeline.models.solov2.layout import ADELAIDET, LIGHT, layout_of, recognise
from pipeline.models.solov2.network import GROUPS, SoloDesign, SoloV2

_LIGHT_SIDES = (448, 768)
"""Shorter and longest side of pictures for light networks."""


@dataclass(frozen=True)
class ImportedSolo:
    """A network, and what its pictures have to be."""

    network: SoloV2
    input_rule: InputRule


def import_solov2(name: str, file: WeightsFile) -> ImportedSolo:
    """The network `name` with the weights of `file`, in fp32, in evaluation mode.

    Raises:
        ModelError: the file is of something else, or does not fit tensor by tensor.
    """
    network, layout = import_published(
        name,
        file,
        lambda layout, shapes: SoloV2(_design(layout, shapes)),
        layout_of=layout_of,
        recognise=recognise,
        expected="SOLOv2 as AdelaiDet, WXinlong/SOLO or OpenMMLab publish it",
        otherwise="a SOLOv2 that cannot be read: deformable, or with another body",
    )
    rule = ADELAIDET_RULE if layout is ADELAIDET else OPENMMLAB_RULE
    if name == LIGHT:
        rule = replace(rule, shorter=_LIGHT_SIDES[0], longest=_LIGHT_SIDES[1])
    return ImportedSolo(network, rule)


def _design(layout: PublishedLayout, shapes: Shapes) -> SoloDesign:
    """What the shapes tell; one that makes no sense is left to the importer, which names it."""
    plain = SoloDesign(layout.body_of(shapes) or "", stride_in_1x1=layout is ADELAIDET)
    tower = [layout.called(f"category_tower.{n}.0.weight") in shapes for n in range(10)]
    category, kernel = (shapes[layout.called(f"{head}.weight")] for head in ("category", "kernel"))
    sizes = (*category[:2], *kernel[:1])
    if len(sizes) != 3 or category[1] % GROUPS or kernel[0] % GROUPS or not all(sizes):
        return plain
    return replace(
        plain, classes=category[0], width=category[1], kernel=kernel[0], depth=sum(tower)
    )
