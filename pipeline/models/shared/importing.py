"""From the tensors of a published file to those of our network, strictly.

A network's own names say which tensors it wants; a family says what each is called in the file and
how it is changed. Every tensor of the file is used once, none is missing, none is left over.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.models.shared.family import Shapes
from pipeline.models.shared.files import WeightsFile, is_safetensors
from pipeline.models.shared.pth import stored_tensors
from pipeline.models.shared.published import PublishedLayout
from pipeline.models.shared.stored import StoredTensor

Held = Mapping[str, Tensor | StoredTensor]
"""What is in a file, by its names."""
N = TypeVar("N", bound=nn.Module)


def held_in(file: WeightsFile) -> Held:
    """The tensors of a file under its own names; none is read yet of a .pth or .pkl.

    Raises:
        ModelError: it is damaged, or holds anything but tensors.
    """
    if not is_safetensors(file.data):
        return stored_tensors(file.data, file.origin)
    try:
        return load_safetensors(file.data)
    except SafetensorError as error:
        raise ModelError(
            f"weights {file.origin}: broken safetensors file ({error}); fetch it again"
        ) from error


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a tensor of ours comes from."""

    name: str
    """In the file."""
    change: Callable[[Tensor], Tensor] = _as_it_is
    """From the file's tensor to ours."""


def import_weights(
    network: nn.Module,
    held: Held,
    called: Callable[[str], Origin],
    *,
    what: str,
    origin: str,
    extra: Callable[[str], bool] = lambda name: False,
) -> nn.Module:
    """Give a network its weights, in evaluation mode, nothing to be trained.

    Memory is taken for what the network has, once names, shapes and types are known to fit.

    Args:
        network: made on the device `meta`.
        held: what is in the file.
        called: from our name of a tensor to where it comes from.
        what: the model, for messages.
        origin: of the file, for messages.
        extra: which names of the file are known and not needed.

    Raises:
        ModelError: naming tensors that are missing, left over, of another shape or type, or not
            finite.
    """
    own = network.state_dict()
    wanted = {key: called(key) for key in own if not is_counter(key)}
    there = {name for name in held if not (extra(name) or is_counter(name))}
    _check_names({source.name for source in wanted.values()}, there, held, what, origin)
    _check_shapes(own, held, wanted, what, origin)
    values = {
        key: source.change(value_of(held[source.name], source.name, origin))
        for key, source in wanted.items()
    }
    zeros = {key: torch.zeros((), dtype=torch.int64) for key in own if is_counter(key)}
    network.load_state_dict(values | zeros, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def value_of(tensor: Tensor | StoredTensor, name: str, origin: str) -> Tensor:
    """In fp32, in memory of its own.

    Raises:
        ModelError: it is no floating point, or holds NaN or infinity.
    """
    if not dtype_of(tensor).is_floating_point:
        raise ModelError(f"weights {origin}: {name} is no floating point, got {dtype_of(tensor)}")
    if isinstance(tensor, StoredTensor):
        with warnings.catch_warnings(action="ignore"):  # that the bytes are not to be written to
            flat = torch.frombuffer(tensor.data, dtype=dtype_of(tensor))
        tensor = flat.as_strided(tensor.shape, tensor.strides, tensor.offset).clone()
    tensor = tensor.float()
    if not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"weights {origin}: {name} holds NaN or infinity; train or fetch again")
    return tensor


def dtype_of(tensor: Tensor | StoredTensor) -> torch.dtype:
    """The torch type of a tensor in a file."""
    if isinstance(tensor, Tensor):
        return tensor.dtype
    found: torch.dtype = getattr(torch, tensor.dtype)
    return found


def is_counter(name: str) -> bool:
    """Whether it counts batches, which norms do without when nothing is trained."""
    return name.endswith(".num_batches_tracked")


def _check_names(wanted: set[str], there: set[str], held: Held, what: str, origin: str) -> None:
    missing = sorted(wanted - there)
    left_over = sorted(there - wanted)
    parts = [
        f"{len(names)} {word} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, word in ((missing, "missing"), (left_over, "left over"))
        if names
    ]
    if parts:
        raise ModelError(
            f"weights {origin} do not fit {what}: of {len(held)} tensors, {'; '.join(parts)}"
        )


def _check_shapes(
    own: Mapping[str, Tensor], held: Held, wanted: Mapping[str, Origin], what: str, origin: str
) -> None:
    for key, source in wanted.items():
        shape = tuple(held[source.name].shape)
        try:
            got = source.change(torch.empty(shape, device="meta")).shape
        except (RuntimeError, IndexError, ValueError):
            got = None
        if got != own[key].shape:
            raise ModelError(
                f"weights {origin} do not fit {what}: {source.name} has the shape {shape}, which "
                f"is not that of {key}, {tuple(own[key].shape)}"
            )


def import_published(
    name: str,
    file: WeightsFile,
    make: Callable[[PublishedLayout, Shapes], N],
    *,
    layout_of: Callable[[Shapes], PublishedLayout | None],
    recognise: Callable[[Shapes], str | None],
    expected: str,
    otherwise: str,
    change: Callable[[str, Tensor], Tensor] = lambda own, tensor: tensor,
) -> tuple[N, PublishedLayout]:
    """A network with the weights of a file in one of its family's published layouts.

    Args:
        name: of the model.
        file: of it, or not.
        make: the network of a layout and the shapes in the file; on the device `meta`.
        layout_of: the family's.
        recognise: the family's.
        expected: what files of the family are, for messages.
        otherwise: what a file of a body that is not known is called there.
        change: of a tensor in the file, by our name of it.

    Raises:
        ModelError: the file is of something else, or does not fit tensor by tensor.
    """
    held = held_in(file)
    shapes = {key: tuple(tensor.shape) for key, tensor in held.items()}
    layout = layout_of(shapes)
    if layout is None:
        raise ModelError(
            f"weights {file.origin} are not of {name}: expected {expected}, "
            f"found {len(held)} tensors of something else"
        )
    if (found := recognise(shapes)) != name:
        raise ModelError(
            f"weights {file.origin} are not of {name}; they look like {found or otherwise}"
        )
    with torch.device("meta"):  # no memory, no random numbers: every parameter comes from the file
        network = make(layout, shapes)
    import_weights(
        network,
        held,
        lambda own: Origin(layout.called(own), partial(change, own)),
        what=f"{name} as {layout.publisher} publishes it",
        origin=file.origin,
        extra=layout.is_extra,
    )
    return network, layout
