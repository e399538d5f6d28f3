"""Which device and which precision: what is there, what was asked for, and why it was chosen."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.errors import ConfigError, ModelError

PRECISIONS = ("auto", "fp32", "fp16", "bf16")
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the network runs, and in which number format its dense part computes."""

    device: torch.device
    precision: str
    reason: str
    """One line for `doctor` and logs."""

    @property
    def dtype(self) -> torch.dtype:
        """The torch type of `precision`."""
        return _DTYPES[self.precision]


def place(device: str = "auto", precision: str = "auto") -> Placement:
    """Choose device and precision; `auto` takes the fastest the machine is good at.

    Raises:
        ConfigError: a word that is not known, or fp16 on a CPU.
        ModelError: the device asked for is not there.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    where = _device(device)
    if where.type == "cuda":
        chosen = "fp16" if precision == "auto" else precision
        return Placement(where, chosen, f"{torch.cuda.get_device_name(where)}, {chosen}")
    if precision == "fp16":
        raise ConfigError("precision fp16 is for GPUs; on a CPU use auto, bf16 or fp32")
    fast = cpu_bf16()
    if precision == "auto":
        return Placement(where, "bf16" if fast else "fp32", f"CPU {fast or 'without bf16 units'}")
    return Placement(where, precision, f"CPU, {precision} as asked for")


def cpu_bf16() -> str | None:
    """The bf16 unit of this CPU (`amx`, `avx512_bf16`), or None where bf16 would be slower."""
    if _supports("_is_amx_tile_supported"):
        return "amx"
    return "avx512_bf16" if _supports("_is_avx512_bf16_supported") else None


def _supports(question: str) -> bool:
    ask = getattr(torch.cpu, question, None)
    return bool(ask()) if ask is not None else False


def _device(word: str) -> torch.device:
    if word == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(word)
    except RuntimeError as error:
        raise ConfigError(f"device {word!r}: expected auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {word!r}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {word}: this machine has no usable CUDA device; use cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ModelError(f"device {word}: this machine has {count} CUDA devices, from cuda:0")
    return device
