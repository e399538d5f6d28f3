"""From a published file to a CondInst with its weights, and to the rules of who published it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pipeline.models.condinst.layout import ADELAIDET, count_classes, layout_of, recognise
from pipeline.models.condinst.network import CondInst
from pipeline.models.condinst.postprocess import (
    ADELAIDET_SELECTION,
    OPENMMLAB_SELECTION,
    SelectionRule,
)
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.importing import import_published
from pipeline.models.shared.input_rule import ADELAIDET_RULE, OPENMMLAB_RULE, InputRule


@dataclass(frozen=True)
class ImportedCondInst:
    """A network, what its pictures have to be, and how its detections are chosen."""

    network: CondInst
    input_rule: InputRule
    selection: SelectionRule


def import_condinst(name: str, file: WeightsFile) -> ImportedCondInst:
    """The network `name` with the weights of `file`, in fp32, in evaluation mode.

    Raises:
        ModelError: the file is of something else, or does not fit tensor by tensor.
    """
    network, layout = import_published(
        name,
        file,
        lambda layout, shapes: CondInst(
            name.split("_")[1],
            stride_in_1x1=layout is ADELAIDET,
            classes=count_classes(shapes),
        ),
        layout_of=layout_of,
        recognise=recognise,
        expected="CondInst as AdelaiDet or OpenMMLab publish it",
        otherwise="a variant with a body that is not known here",
        change=_number_of_scales,
    )
    if layout is ADELAIDET:
        return ImportedCondInst(network, ADELAIDET_RULE, ADELAIDET_SELECTION)
    return ImportedCondInst(network, OPENMMLAB_RULE, OPENMMLAB_SELECTION)


def _number_of_scales(own: str, tensor: Tensor) -> Tensor:
    """Some files hold a level's scale as a list of one."""
    return tensor.reshape(()) if own.startswith("scales.") else tensor
