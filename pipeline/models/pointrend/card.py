"""What is published about PointRend."""

from __future__ import annotations

from pipeline.models.shared.family import ModelCard


def _zoo(mask_ap: float) -> ModelCard:
    return ModelCard(
        mask_ap=mask_ap,
        ap_source="detectron2's projects/PointRend, COCO val2017, 3x schedule",
        code_licence="Apache-2.0",
        weights_licence="CC BY-SA 3.0 as detectron2's zoo; its own page does not say",
        weights_from="detectron2's projects/PointRend: --weights FILE.pkl; or your own",
    )


R50 = _zoo(38.3)
R101 = _zoo(40.1)
X101 = _zoo(41.1)
