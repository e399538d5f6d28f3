"""SOLOv2 on a device, for a `PictureSegmenter`."""

from __future__ import annotations

from functools import partial

from pipeline.arrays import Ints
from pipeline.models.shared.devices import Placement
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.whole_picture import FinderMaker, PictureFinder
from pipeline.models.solov2.dense import SoloDense
from pipeline.models.solov2.importer import ImportedSolo, import_solov2
from pipeline.models.solov2.postprocess import find_instances


def read(name: str, file: WeightsFile) -> tuple[int, FinderMaker]:
    """See `load_pictures`."""
    imported = import_solov2(name, file)
    return imported.network.design.classes, partial(finder_of, imported)


def finder_of(
    imported: ImportedSolo, placement: Placement, ids: Ints, threshold: float = 0.0
) -> PictureFinder:
    """The network on its device.

    Args:
        imported: the network.
        placement: where it runs.
        ids: class ids by row of the class head.
        threshold: a score has to be above it.
    """
    dense = SoloDense(imported.network, placement.device, placement.dtype)
    decode = partial(find_instances, ids=ids, threshold=threshold)
    return PictureFinder(placement, imported.input_rule, dense, decode)
