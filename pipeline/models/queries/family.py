"""The models of the library transformers by name; neither it nor torch before one is loaded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.models.queries import card
from pipeline.models.queries.reference import about, read, recognise, settle
from pipeline.models.shared.family import Family, Model, Reference

if TYPE_CHECKING:
    from pipeline.models.shared.files import WeightsFile
    from pipeline.stages import Segmenter

_Row = partial(Model, opens="pipeline.models.queries.family:FAMILY")

_SIZES = {  # published mask AP by size
    "nano": 40.3,
    "small": 43.1,
    "medium": 45.3,
    "large": 47.1,
    "xlarge": 48.8,
    "2xlarge": 49.9,
}


def _published(size: str, mask_ap: float) -> Model:
    reference = f"Roboflow/rf-detr-seg-{size}"
    return _Row(
        f"rfdetr-seg-{size}",
        summary=f"RF-DETR-Seg, its published {size} size; real time on a GPU",
        weights=reference,
        card=card.rfdetr(mask_ap, reference),
    )


MODELS = (
    *(_published(size, mask_ap) for size, mask_ap in _SIZES.items()),
    _Row("rfdetr", summary="RF-DETR-Seg of your own: rfdetr:REFERENCE", card=card.RFDETR),
    _Row("eomt", summary="EoMT, a plain vision transformer: eomt:REFERENCE", card=card.EOMT),
    _Row("mask2former", summary="Mask2Former: mask2former:REFERENCE", card=card.MASK2FORMER),
    _Row("maskformer", summary="MaskFormer: maskformer:REFERENCE", card=card.MASKFORMER),
    _Row(
        "oneformer",
        summary="OneFormer, its task of instances: oneformer:REFERENCE",
        card=card.ONEFORMER,
    ),
)


def _load(name: str, file: WeightsFile, **options: Any) -> Segmenter:
    from pipeline.models.queries.segmenter import load_queries

    return load_queries(name, file, **options)


FAMILY = Family(
    load=_load,
    reference=Reference(
        what="a folder that transformers has saved, or a name on the hub such as OWNER/NAME",
        settle=settle,
        read=read,
        about=about,
        recognise=recognise,
    ),
    needs=("transformers", "transformers"),
)
