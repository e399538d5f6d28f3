"""Weights files to networks; see `layout` for what is in them."""

from __future__ import annotations

import torch

from pipeline.errors import ModelError
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.importing import Origin, held_in, import_weights
from pipeline.models.yolact.designs import DESIGNS
from pipeline.models.yolact.layout import count_classes, is_unused, layers, name_in_file, recognise
from pipeline.models.yolact.network import Yolact


def load_network(name: str, file: WeightsFile) -> Yolact:
    """The network `name` with the weights of `file`, in fp32, in evaluation mode.

    Raises:
        ModelError: the tensors are those of another YOLACT; or naming what is missing, left over,
            of another shape or not finite.
    """
    held = held_in(file)
    shapes = {key: tensor.shape for key, tensor in held.items()}
    told = recognise(shapes)
    if told is not None and layers(told) != layers(name):
        raise ModelError(
            f"weights {file.origin}: not of {name}: their tensors are those of {told}; "
            f"use --model {told}, or leave --model out"
        )
    with torch.device("meta"):  # no memory, no random numbers: every parameter comes from the file
        network = Yolact(DESIGNS[name], count_classes(shapes, file.origin))
    import_weights(
        network,
        held,
        lambda own: Origin(name_in_file(own)),
        what=name,
        origin=file.origin,
        extra=is_unused,
    )
    return network
