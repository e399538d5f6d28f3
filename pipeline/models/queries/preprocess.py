"""A picture as a model of transformers wants it, by the image processor it was published with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.arrays import Image, Size
from pipeline.errors import ModelError
from pipeline.models.queries.reference import json_in

_RESIZING = (
    "do_resize", "size", "size_divisor", "resample", "do_rescale", "rescale_factor", "do_normalize",
    "image_mean", "image_std", "pad_size",
)  # fmt: skip
_EMBEDDED = 77
"""Words of OneFormer's task, padding included, where its configuration says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkInput:
    """One picture, ready for the network."""

    inputs: dict[str, Tensor]
    """Arguments of its forward, each with a batch of one."""
    padded: Size
    """(height, width) of the input."""
    kept: Size
    """Rows and columns of it that show the picture; beyond is padding."""


class Preprocess:
    """Makes `NetworkInput` of pictures.

    Args:
        kind: `model_type` of the configuration.
        folder: where the image processor's settings lie.
        origin: what the user wrote, for messages.
        config: of the model.
        device: of the inputs.

    Raises:
        ModelError: the settings are not there, or not understood.
    """

    def __init__(
        self, kind: str, folder: Path, origin: str, config: dict[str, Any], device: torch.device
    ) -> None:
        self._device = device
        self._task: Tensor | None = None
        try:
            self._processor = _PROCESSORS.get(kind, _its_own)(folder, origin)
            if kind == "oneformer":
                length = int(config.get("task_seq_len", _EMBEDDED))
                self._task = _task(folder, length).to(device)
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = str(error).strip().partition("\n")[0][:200]
            raise ModelError(f"weights {origin}: the image processor: {reason}") from error
        self._square = kind in ("eomt", "eomt_dinov3")

    def __call__(self, image: Image) -> NetworkInput:
        """Resize, normalise and pad (H, W, 3) BGR."""
        rgb = np.ascontiguousarray(image[..., ::-1])
        made = self._processor(
            images=rgb, return_tensors="pt", input_data_format="channels_last", device=self._device
        )
        pixels = made["pixel_values"].to(self._device)
        padded = (int(pixels.shape[-2]), int(pixels.shape[-1]))
        inputs = {"pixel_values": pixels}
        kept = padded
        if self._square:
            kept = self._within(image.shape[:2])
        elif "pixel_mask" in made:
            inputs["pixel_mask"] = mask = made["pixel_mask"].to(self._device)
            kept = (int(mask[0].any(1).sum()), int(mask[0].any(0).sum()))
        if self._task is not None:
            inputs["task_inputs"] = self._task
        return NetworkInput(inputs, padded, kept)

    def _within(self, size: tuple[int, ...]) -> Size:
        """What EoMT's processor resizes to before it pads; it does not say so itself."""
        from transformers.image_transforms import get_size_with_aspect_ratio

        sides = self._processor.size
        height, width = get_size_with_aspect_ratio(
            (size[0], size[1]), sides["shortest_edge"], sides["longest_edge"]
        )
        return int(height), int(width)


def _its_own(folder: Path, origin: str) -> Any:
    from transformers import AutoImageProcessor

    make: Any = AutoImageProcessor  # the library leaves its types out
    return make.from_pretrained(folder, local_files_only=True)


def _whole(folder: Path, origin: str) -> Any:
    """EoMT's, the whole picture at once: parts of it are for its task of semantics."""
    from transformers import EomtImageProcessor

    return EomtImageProcessor.from_pretrained(
        folder, local_files_only=True, do_split_image=False, do_pad=True
    )


def _of_oneformer(folder: Path, origin: str) -> Any:
    """One that resizes alike: its own asks the hub for a file of names."""
    from transformers import MaskFormerImageProcessor

    said: dict[str, Any] = {"size_divisor": 0}  # OneFormer's sides are no multiples of anything
    said |= json_in(folder, "preprocessor_config.json", origin)
    return MaskFormerImageProcessor(**{key: said[key] for key in _RESIZING if key in said})


_PROCESSORS: dict[str, Callable[[Path, str], Any]] = {
    "oneformer": _of_oneformer,
    "eomt": _whole,
    "eomt_dinov3": _whole,
}


def _task(folder: Path, length: int) -> Tensor:
    """OneFormer's task of instances, as numbers of words: (1, length)."""
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ValueError("no tokenizer.json or vocab.json, by which OneFormer is told its task")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    words = tokenizer(
        ["the task is instance"], padding="max_length", max_length=length, truncation=True
    )
    ids = torch.tensor(words["input_ids"]) * torch.tensor(words["attention_mask"])
    return ids[:, :length]
