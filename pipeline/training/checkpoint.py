"""The checkpoint of a training: read with care, for the folder may hold somebody else's."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.models.shared.archive import state_dict_parts
from pipeline.reading import open_regular

CHECKPOINT = "checkpoint.pth"
_KEYS = {"step", "seconds", "network", "average", "optimiser", "torch_rng"}


def load_checkpoint(path: Path, network: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, on the CPU; None where there is none.

    Args:
        path: of the file.
        network: the state of the network that goes on.

    Raises:
        ConfigError: it is no checkpoint of a training, or one of another network.
    """
    try:
        with open_regular(path) as file:
            state_dict_parts(file)  # nothing packed: it is not larger than it looks
            file.seek(0)
            return _checked(_tensors(file), network)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, LookupError, EOFError):
        raise ConfigError(
            f"{path}: is no checkpoint of this training; name another --output, or remove it to "
            "begin anew"
        ) from None


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the checkpoint by another, whole or not at all."""
    fresh = path.with_suffix(".tmp")
    fresh.unlink(missing_ok=True)  # a link would lead to somebody's file
    torch.save(dict(state), fresh)
    fresh.replace(path)


def _tensors(file: BinaryIO) -> Any:
    with warnings.catch_warnings(action="ignore"):
        return torch.load(file, map_location="cpu", weights_only=True)


def _checked(state: Any, network: Mapping[str, Tensor]) -> dict[str, Any]:
    """Refuse other keys, and tensors that are not the network's: nothing is taken in by halves."""
    if not isinstance(state, dict) or state.keys() != _KEYS:
        raise ValueError("other keys")
    shapes = {key: tensor.shape for key, tensor in network.items()}
    for part in (state["network"], state["average"]):
        if {key: tensor.shape for key, tensor in part.items()} != shapes:
            raise ValueError("another network")
    known = set(shapes.values())
    for values in state["optimiser"]["state"].values():
        if any(tensor.ndim and tensor.shape not in known for tensor in values.values()):
            raise ValueError("another optimiser")
    if not state["step"] >= 0 or not state["seconds"] >= 0:
        raise ValueError("a time before the beginning")
    return state
