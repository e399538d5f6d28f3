"""Which tensors a file of weights holds, whatever kind of file it is; none of them is read."""

from __future__ import annotations

from typing import Any

from pipeline.models.shared.family import Shapes
from pipeline.models.shared.files import WeightsFile, is_safetensors, safetensors_header
from pipeline.models.shared.pth import stored_tensors


def shapes_of(file: WeightsFile) -> Shapes:
    """Shapes by name; of a safetensors file the header suffices.

    A shape in its header that is none is given as (), and left to who reads the tensor.

    Raises:
        ModelError: the file is damaged, or holds anything but tensors.
    """
    if not is_safetensors(file.data):
        stored = stored_tensors(file.data, file.origin)
        return {key: tensor.shape for key, tensor in stored.items()}
    header = safetensors_header(file.data, file.origin)
    return {key: _shape(entry) for key, entry in header.items() if key != "__metadata__"}


def _shape(entry: Any) -> tuple[int, ...]:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    told = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    return tuple(shape) if told and shape is not None else ()
