"""What to say, and to let go of, when the memory of a device does not suffice."""

from __future__ import annotations

import re
import traceback

import torch

_GIB = 2**30
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, OpenCV or Python says that memory did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    signs = ("allocate memory", "Insufficient memory", "CUDA error: out of memory")
    return any(words in str(error) for words in signs)


def shortage(error: BaseException, count: int, size: tuple[int, int], device: torch.device) -> str:
    """One line about a batch that did not fit; what it held is released.

    Args:
        error: says that memory did not suffice.
        count: pictures in the batch.
        size: (height, width) of the first.
        device: that ran it.
    """
    text = first_line(error)
    batch = f"{count} picture{'s' if count > 1 else ''} of {size[0]}x{size[1]}"
    verb = "need" if count > 1 else "needs"
    if device.type != "cuda":
        traceback.clear_frames(error.__traceback__)
        return f"{batch}: {text}"
    held = torch.cuda.memory_allocated(device)
    traceback.clear_frames(error.__traceback__)  # they hold the tensors of the batch
    need = held - torch.cuda.memory_allocated(device) + _asked_for(text)
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info(device)
    return (
        f"{batch} {verb} at least {need / _GIB:.2f} GiB of memory on {device}, "
        f"{free / _GIB:.2f} of {total / _GIB:.2f} GiB are free; "
        "free the GPU, or use a smaller model or smaller pictures"
    )


def first_line(error: BaseException) -> str:
    """What an error says, without the rest of its lines."""
    return str(error).partition("\n")[0] or type(error).__name__


def _asked_for(text: str) -> float:
    """Bytes that could not be had, from torch's own words."""
    found = re.search(r"Tried to allocate ([\d.]+) (B|KiB|MiB|GiB)", text)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
