"""What `blob` is, without OpenCV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.models.blob.labels import LABELS
from pipeline.models.shared.family import Family, Model, ModelCard

if TYPE_CHECKING:
    from pipeline.stages import Segmenter

MODEL = Model(
    "blob",
    "pipeline.models.blob.family:FAMILY",
    "exact masks of flat colours, without weights; for tests",
    card=ModelCard(code_licence="Apache-2.0", weights_from="none are needed"),
)


def _load(*_: Any, **__: Any) -> Segmenter:
    from pipeline.models.blob.segmenter import BlobSegmenter

    return BlobSegmenter()


FAMILY = Family(load=_load, labels=lambda _: LABELS, needs_weights=False, wants_gpu=False)
