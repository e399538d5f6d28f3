"""From a published file to a CondInst with its weights, and to the rules of who published it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.models.condinst.layout import ADELAIDET, count_classes, layout_of, recognise
from pipeline.models.condinst.network import CondInst
from pipeline.models.condinst.postprocess import (
    ADELAIDET_SELECTION,
    OPENMMLAB_SELECTION,
    SelectionRule,
)
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.importing import Origin, held_in, import_weights
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
    held = held_in(file)
    shapes = {key: tuple(tensor.shape) for key, tensor in held.items()}
    layout = layout_of(shapes)
    if layout is None:
        raise ModelError(
            f"weights {file.origin} are not of {name}: expected CondInst as AdelaiDet or OpenMMLab "
            f"publish it, found {len(held)} tensors of something else"
        )
    if (found := recognise(shapes)) != name:
        raise ModelError(
            f"weights {file.origin} are not of {name}; they look like "
            f"{found or 'a variant with a body that is not known here'}"
        )
    adelaidet = layout is ADELAIDET
    with torch.device("meta"):  # no memory, no random numbers: every parameter comes from the file
        network = CondInst(
            name.split("_")[1],
            stride_in_1x1=adelaidet,
            classes=count_classes(shapes),
        )
    import_weights(
        network,
        held,
        lambda own: Origin(layout.called(own), _number if own.startswith("scales.") else _as_it_is),
        what=f"{name} as {layout.publisher} publishes it",
        origin=file.origin,
        extra=layout.is_extra,
    )
    if adelaidet:
        return ImportedCondInst(network, ADELAIDET_RULE, ADELAIDET_SELECTION)
    return ImportedCondInst(network, OPENMMLAB_RULE, OPENMMLAB_SELECTION)


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _number(tensor: Tensor) -> Tensor:
    """Some files hold it as a list of one."""
    return tensor.reshape(())
