"""The models by name: a light table, and the doors to what is heavy.

Importing this costs nothing; `load_segmenter` imports torch, where the model needs it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.models.shared.files import (
    DEMO_FILE,
    WeightsFile,
    is_safetensors,
    labels_for,
    read_about,
    read_weights,
)
from pipeline.models.shared.files import safetensors_header as _header
from pipeline.models.shared.labels import BLOB_LABELS, COCO_CLASSES, COCO_LABELS
from pipeline.paths import expanded

if TYPE_CHECKING:
    from pipeline.stages import Segmenter

__all__ = [
    "MODELS",
    "PUBLISHED_BYTES",
    "Model",
    "WeightsFile",
    "choose",
    "fetch_weights",
    "gpu_present",
    "load_segmenter",
    "local_weights",
    "model_labels",
    "names",
    "weights_paths",
]

DEFAULT = "maskrcnn_resnet50_fpn_v2"
"""One default on every machine, so that one command gives one result."""

PUBLISHED_BYTES = 190_000_000
"""No file of published weights is larger."""


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the table."""

    name: str
    family: str
    """`mask_rcnn` (needs weights) or `blob` (has none)."""
    weights: str | None
    """What is loaded when nothing is asked for; None: a path must be given."""
    published: tuple[str, ...]
    """Words that may stand for a path."""
    summary: str


MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model(
            "maskrcnn_resnet50_fpn",
            "mask_rcnn",
            "COCO_V1",
            ("COCO_V1",),
            "torchvision's Mask R-CNN, mask AP 34.6 on COCO; about twice as fast as v2",
        ),
        Model(
            "maskrcnn_resnet50_fpn_v2",
            "mask_rcnn",
            "COCO_V1",
            ("COCO_V1",),
            "torchvision's stronger one, mask AP 41.8 on COCO; the default",
        ),
        Model(
            "maskrcnn_resnet18_fpn",
            "mask_rcnn",
            "demo",
            ("demo",),
            "small and fast; its bundled weights know the synthetic street",
        ),
        Model("maskrcnn_resnet101_fpn", "mask_rcnn", None, (), "deeper body, for own weights"),
        Model(
            "maskrcnn_resnext101_32x8d_fpn", "mask_rcnn", None, (), "widest body, for own weights"
        ),
        Model("blob", "blob", None, (), "exact masks of flat colours, without weights; for tests"),
    )
}


def names() -> tuple[str, ...]:
    """All model names, in the order of the table."""
    return tuple(MODELS)


def gpu_present() -> bool:
    """Whether a CUDA device node is visible; cheap, and says nothing about drivers."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def choose(
    name: str | None = None, weights: str | None = None, *, read: WeightsFile | None = None
) -> tuple[str, str | None]:
    """Fill in what was left open: the model's name and its weights.

    Without a name, the one named inside the weights is taken, then the default; `read` are those
    weights, where somebody has read them already.

    Raises:
        ConfigError: the name is unknown, or weights are needed and none are known.
        ModelError: the weights cannot be read to find the model's name.
    """
    if name is None and weights is not None:
        name = _name_for(read or weights)
    if name is None:
        name = DEFAULT
    model = _model(name)
    if model.family == "blob":
        if weights is not None:
            raise ConfigError(f"model blob has no weights, got {weights!r}; leave them out")
        return name, None
    weights = weights or model.weights
    if weights is None:
        raise ConfigError(
            f"model {name} has no published weights; give a .safetensors or .pth file with "
            "--weights"
        )
    if weights in _WORDS and weights not in model.published:
        right = ", ".join(m.name for m in MODELS.values() if weights in m.published)
        raise ConfigError(f"weights {weights} are not for {name}; they are for {right}")
    return name, weights


def fetch_weights(name: str, weights: str | None = None) -> WeightsFile | None:
    """The bytes of a model's weights, read (or fetched and verified) once; None for `blob`.

    Raises:
        ConfigError: see `choose`.
        ModelError: the file is missing or broken, or cannot be fetched.
    """
    name, weights = choose(name, weights)
    if weights is None:
        return None
    if weights == "COCO_V1":
        from pipeline.models.mask_rcnn.weights import fetch_published

        return fetch_published(name)
    return read_weights(weights)


def local_weights(weights: str | None) -> WeightsFile | None:
    """Weights that are on this machine's disk, read once; None where they are published or none.

    Raises:
        ModelError: the file is missing or broken.
    """
    if weights is None or weights in _WORDS - {"demo"}:
        return None
    return read_weights(weights)


def weights_paths(weights: str | None) -> list[str]:
    """The files weights are read from on this machine, the bundled ones among them."""
    paths = [str(DEMO_FILE)]
    if weights is not None and weights not in _WORDS:
        path = expanded(weights)
        paths += [path, f"{path}.labels.json"]
    return paths


def model_labels(name: str, weights: str | WeightsFile | None = None) -> Mapping[int, str]:
    """Names by class id, without torch unless a .pth file has no labels beside it.

    Raises:
        ConfigError: see `choose`.
        ModelError: the file cannot be read, or its labels do not fit its class head.
    """
    if not isinstance(weights, WeightsFile):
        name, weights = choose(name, weights)
        if weights is None:
            return BLOB_LABELS
        if weights == "COCO_V1":
            return COCO_LABELS
        weights = read_about(weights)
    if is_safetensors(weights.data):
        head = _header(weights.data, weights.origin).get("roi_heads.box_predictor.cls_score.bias")
        return labels_for(weights, int(head["shape"][0]) if head else COCO_CLASSES)
    if weights.labels is not None:
        return weights.labels
    from pipeline.models.mask_rcnn.weights import count_classes, read_tensors

    return labels_for(weights, count_classes(read_tensors(weights), weights.origin))


def load_segmenter(
    name: str,
    *,
    weights: str | WeightsFile | None = None,
    device: str = "auto",
    precision: str = "auto",
    score_threshold: float = 0.1,
    threads: int | None = None,
    max_batch: int = 8,
) -> Segmenter:
    """Load a model, ready to segment (warm-up is `segmenter.warm_up`, where there is one).

    Args:
        name: see `names()`.
        weights: `COCO_V1`, `demo`, a path, or what `fetch_weights` gave; None: the model's own.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: of the dense part: `auto`, `fp32`, `fp16` (GPU) or `bf16`.
        score_threshold: detections above it are returned.
        threads: CPU threads of torch in this process; None leaves torch's setting.
        max_batch: pictures that go through the network at once.

    Raises:
        ConfigError: a name, word or number that makes no sense.
        ModelError: weights or device are unusable.
    """
    if _model(name).family == "blob":
        from pipeline.models.blob.segmenter import BlobSegmenter

        return BlobSegmenter()
    file = weights if isinstance(weights, WeightsFile) else fetch_weights(name, weights)
    if file is None:
        raise ConfigError(f"model {name} needs weights")
    # Before torch loads OpenMP, which reads it once: a thread that spins while it waits for its
    # sibling keeps it from running where cores are short (2 threads beside other work on 2 cores:
    # 547 ms a frame spinning, 57 ms asleep).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from pipeline.models.mask_rcnn.segmenter import load_mask_rcnn

    return load_mask_rcnn(
        name,
        file,
        device=device,
        precision=precision,
        score_threshold=score_threshold,
        threads=threads,
        max_batch=max_batch,
    )


_WORDS = frozenset(word for model in MODELS.values() for word in model.published)


def _model(name: str) -> Model:
    try:
        return MODELS[name]
    except KeyError:
        raise ConfigError(f"model {name!r} is not known; known are {', '.join(MODELS)}") from None


def _name_for(weights: str | WeightsFile) -> str | None:
    if weights == "demo":
        return "maskrcnn_resnet18_fpn"
    if isinstance(weights, str) and weights in _WORDS:
        return None
    file = read_about(weights) if isinstance(weights, str) else weights
    if file.model is not None or is_safetensors(file.data):
        return file.model
    from pipeline.models.mask_rcnn.weights import guess_name, read_tensors

    return guess_name(read_tensors(file), file.origin)
