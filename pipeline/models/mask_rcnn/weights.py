"""Weights files to loaded networks: published or own, safetensors or .pth, each fault one line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import (
    KeypointRCNN_ResNet50_FPN_Weights,
    MaskRCNN,
    MaskRCNN_ResNet50_FPN_V2_Weights,
    MaskRCNN_ResNet50_FPN_Weights,
)
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.errors import ModelError
from pipeline.models.mask_rcnn.layout import count_classes, recognise
from pipeline.models.mask_rcnn.networks import build_network
from pipeline.models.shared.detectron2 import is_detectron2
from pipeline.models.shared.files import (
    MAX_BYTES,
    WeightsFile,
    from_bytes,
    setting,
)
from pipeline.models.shared.importing import Held, held_in, is_counter, value_of
from pipeline.reading import read_small

_PUBLISHED = {
    "maskrcnn_resnet50_fpn": MaskRCNN_ResNet50_FPN_Weights.COCO_V1,
    "maskrcnn_resnet50_fpn_v2": MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
    "keypointrcnn_resnet50_fpn": KeypointRCNN_ResNet50_FPN_Weights.COCO_V1,
}


def fetch_published(name: str) -> WeightsFile:
    """The COCO_V1 weights of `name`, from the cache or fetched, hash checked each time.

    Raises:
        ModelError: they cannot be fetched, or the file is not the published one.
    """
    url = _PUBLISHED[name].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    prefix = path.stem.rpartition("-")[2]
    if not path.exists():
        _fetch(name, url, path, prefix)
    try:
        file = from_bytes(read_small(path, max_bytes=MAX_BYTES), "COCO_V1")
    except OSError as error:
        raise ModelError(f"weights COCO_V1: cannot read {path}: {error.strerror}") from error
    if not file.sha256.startswith(prefix):
        raise ModelError(
            f"weights COCO_V1: {path} is damaged (sha256 {file.sha256[:8]}..., expected "
            f"{prefix}...); delete it, so that it is fetched again"
        )
    return file


def _fetch(name: str, url: str, path: Path, prefix: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), prefix, progress=os.isatty(2))
    except (OSError, RuntimeError) as error:  # no network, refused, full disk, wrong hash
        raise ModelError(
            f"weights COCO_V1 of {name}: cannot fetch {url}: {error}; connect once, or fetch that "
            "file elsewhere and pass its path with --weights (--weights demo works offline)"
        ) from error


def load_network(name: str, file: WeightsFile, held: Held | None = None) -> MaskRCNN:
    """The network `name` with the weights of `file`, in fp32, in evaluation mode.

    Memory is taken for what the network has, once names, shapes and types are known to fit.

    Args:
        name: of the model.
        file: in torchvision's layout.
        held: what is in it, where somebody has read it.

    Raises:
        ModelError: the weights do not fit the network, or hold a value that is not finite.
    """
    held = held_in(file) if held is None else held
    if is_detectron2(held):
        raise ModelError(
            f"weights {file.origin} are in detectron2's layout: they can be run, but neither "
            "trained further nor measured beside torchvision"
        )
    shapes = {key: tensor.shape for key, tensor in held.items()}
    num_classes = count_classes(shapes, file.origin)
    with torch.device("meta"):  # no memory, no random numbers: every parameter comes from the file
        network = build_network(
            name,
            num_classes=num_classes,
            norm_layer=partial(FrozenBatchNorm2d, eps=norm_eps(name, held, file)),
            **sizes_in(file),
        )
    told = {key: torch.empty(s, device="meta") for key, s in shapes.items() if not is_counter(key)}
    _load(network, name, told, file.origin)  # refuses what does not fit, and takes no memory
    values = {key: value_of(held[key], key, file.origin) for key in told}
    _load(network, name, values, file.origin)
    return network.eval().requires_grad_(False)


def _load(network: nn.Module, name: str, tensors: dict[str, Tensor], origin: str) -> None:
    own = network.state_dict()
    counters = {key for key in own if is_counter(key)}
    values = tensors | {key: torch.zeros((), dtype=torch.int64) for key in counters}
    try:
        network.load_state_dict(values, strict=True, assign=True)
    except RuntimeError as error:
        wrong = [key for key in own if key in tensors and own[key].shape != tensors[key].shape]
        missing = [key for key in own if key not in tensors and key not in counters]
        extra = [key for key in tensors if key not in own]
        parts = [
            f"{len(keys)} {word} (first: {keys[0]})"
            for word, keys in (("missing", missing), ("unknown", extra))
            if keys
        ]
        if wrong:
            got, expected = tuple(tensors[wrong[0]].shape), tuple(own[wrong[0]].shape)
            parts.insert(
                0, f"{len(wrong)} of wrong shape ({wrong[0]}: expected {expected}, got {got})"
            )
        raise ModelError(
            f"weights {origin} do not fit {name}: {'; '.join(parts)}; they look like "
            f"{recognise({key: tensor.shape for key, tensor in tensors.items()})}"
        ) from error


def norm_eps(name: str, tensors: Mapping[str, object], file: WeightsFile) -> float:
    """The eps of the body's norms: the COCO weights of v1 were trained with 0, all else with 1e-5.

    Files of that layout, fine-tunes included, hold frozen statistics without a batch counter.
    """
    stored = setting(file, "norm_eps", least=0, most=1)
    if stored is not None:
        return stored
    frozen = "backbone.body.bn1.num_batches_tracked" not in tensors
    return 0.0 if frozen and name == "maskrcnn_resnet50_fpn" else 1e-5


def sizes_in(file: WeightsFile) -> dict[str, int]:
    """`min_size` and `max_size` where the file's metadata has them.

    Raises:
        ModelError: one is no side of a picture.
    """
    sizes = {key: setting(file, key, least=32, most=8192) for key in ("min_size", "max_size")}
    return {key: int(size) for key, size in sizes.items() if size is not None}
