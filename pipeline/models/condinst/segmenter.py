"""CondInst on a device, for a `PictureSegmenter`."""

from __future__ import annotations

from functools import partial

from pipeline.arrays import Ints
from pipeline.models.condinst.dense import CondInstDense
from pipeline.models.condinst.importer import ImportedCondInst, import_condinst
from pipeline.models.condinst.postprocess import find_instances
from pipeline.models.shared.devices import Placement
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.whole_picture import FinderMaker, PictureFinder


def read(name: str, file: WeightsFile) -> tuple[int, FinderMaker]:
    """See `load_pictures`."""
    imported = import_condinst(name, file)
    return imported.network.classes.out_channels, partial(finder_of, imported)


def finder_of(
    imported: ImportedCondInst, placement: Placement, ids: Ints, threshold: float = 0.0
) -> PictureFinder:
    """The network on its device.

    Args:
        imported: the network.
        placement: where it runs.
        ids: class ids by row of the class head.
        threshold: a score has to be above it.
    """
    dense = CondInstDense(imported.network, placement.device, placement.dtype)
    decode = partial(find_instances, ids=ids, selection=imported.selection, threshold=threshold)
    return PictureFinder(placement, imported.input_rule, dense, decode)
