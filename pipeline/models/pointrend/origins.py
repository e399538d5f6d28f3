"""Where our tensors are in published files; what only knows a file is in `layout`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.models.mask_rcnn.detectron2.layout import called
from pipeline.models.pointrend.layout import POINTS, older
from pipeline.models.shared.importing import Origin


def origins(held: Iterable[str]) -> Callable[[str], Origin]:
    """Where a tensor of ours comes from, in a file with these names."""
    rename = older if older(POINTS) in set(held) else str

    def origin_of(own: str) -> Origin:
        return Origin(rename(own)) if ".mask_head." in own else called(own)

    return origin_of
