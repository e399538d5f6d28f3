"""Weights files to networks; see `layout` for what is in them."""

from __future__ import annotations

import torch

from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.importing import Origin, held_in, import_weights
from pipeline.models.yolact.designs import DESIGNS
from pipeline.models.yolact.layout import count_classes, is_unused, name_in_file
from pipeline.models.yolact.network import Yolact


def load_network(name: str, file: WeightsFile) -> Yolact:
    """The network `name` with the weights of `file`, in fp32, in evaluation mode.

    Raises:
        ModelError: naming what is missing, left over, of another shape or not finite.
    """
    held = held_in(file)
    shapes = {key: tensor.shape for key, tensor in held.items()}
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
