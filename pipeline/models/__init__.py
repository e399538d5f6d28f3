"""The models by name: a light catalogue, and the doors to what is heavy.

Importing this costs nothing; `load_segmenter` imports torch, where the model needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.catalogue import Catalogue
from pipeline.errors import ConfigError
from pipeline.models.blob.family import MODEL as BLOB
from pipeline.models.cascade_mask_rcnn.family import MODELS as CASCADES
from pipeline.models.condinst.family import MODELS as CONDINSTS
from pipeline.models.keypoint_rcnn.family import MODELS as KEYPOINT_RCNNS
from pipeline.models.mask_rcnn.family import MODELS as MASK_RCNNS
from pipeline.models.naming import check_installed, row_of, settled, split
from pipeline.models.onnx.family import MODEL as ONNX
from pipeline.models.onnx.layout import checked_options
from pipeline.models.own.family import MODEL as OWN_MODEL
from pipeline.models.pointrend.family import MODELS as POINTRENDS
from pipeline.models.queries.family import MODELS as QUERIES
from pipeline.models.recognising import name_of, refuse_other
from pipeline.models.shared.family import Family, Model, ModelCard, Reference
from pipeline.models.shared.files import WeightsFile, read_about, read_weights
from pipeline.models.solov2.family import MODELS as SOLOV2S
from pipeline.models.yolact.family import MODELS as YOLACTS
from pipeline.paths import expanded

if TYPE_CHECKING:
    from pipeline.stages import Segmenter

__all__ = [
    "DEFAULT",
    "DEFAULT_ON_CPU",
    "MODELS",
    "PUBLISHED_BYTES",
    "Family",
    "Model",
    "ModelCard",
    "Reference",
    "WeightsFile",
    "choose",
    "fetch_weights",
    "gpu_present",
    "is_bundled",
    "is_published",
    "load_segmenter",
    "local_weights",
    "model_labels",
    "named",
    "names",
    "onnx_options",
    "weights_paths",
]

MODELS = Catalogue(
    "model",
    "maskstream.models",
    (
        *MASK_RCNNS,
        *CASCADES,
        *KEYPOINT_RCNNS,
        *POINTRENDS,
        *SOLOV2S,
        *CONDINSTS,
        *YOLACTS,
        *QUERIES,
        ONNX,
        OWN_MODEL,
        BLOB,
    ),
)
"""All models; installed packages offer more as `Model`s in the entry points of this group."""

DEFAULT = "maskrcnn_resnet50_fpn_v2"
"""One default on every machine, so that one command gives one result."""

DEFAULT_ON_CPU = "maskrcnn_resnet50_fpn"
"""Where a CPU is asked for by name."""

PUBLISHED_BYTES = 240_000_000
"""No file of published weights is larger."""


def names() -> tuple[str, ...]:
    """All model names, in the order of the catalogue."""
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
        name = _name_for(weights, read)
    if name is None:
        name = DEFAULT
    name, weights = split(MODELS, name, weights)
    model = named(name)
    check_installed(model)
    if not model.family.needs_weights:
        if weights is not None:
            raise ConfigError(f"model {name} has no weights, got {weights!r}; leave them out")
        return name, None
    weights = weights or model.weights
    if model.family.reference is not None:
        return name, settled(MODELS, model, model.family.reference, weights)
    if weights is None:
        raise ConfigError(
            f"model {name} has no published weights; give a .safetensors, .pth or .pkl file "
            "with --weights"
        )
    owners = _owners(weights)
    if owners and model not in owners:
        right = ", ".join(owner.name for owner in owners)
        raise ConfigError(f"weights {weights} are not for {name}; they are for {right}")
    return name, weights


def fetch_weights(name: str, weights: str | None = None) -> WeightsFile | None:
    """The bytes of a model's weights, read (or fetched and verified) once; None if it has none.

    Raises:
        ConfigError: see `choose`.
        ModelError: the file is missing or broken, or cannot be fetched.
    """
    name, weights = choose(name, weights)
    if weights is None:
        return None
    reference, fetch = named(name).family.reference, named(name).family.fetch
    if reference is not None:
        return reference.read(name, weights)
    if _is_remote(weights) and fetch is not None:
        return fetch(name, weights)
    return read_weights(weights, _bundled(weights))


def local_weights(weights: str | None, name: str | None = None) -> WeightsFile | None:
    """Weights that are on this machine's disk, read once; None where they are published or none.

    Args:
        weights: a word, a path or a reference.
        name: of the model, where weights may be a reference.

    Raises:
        ModelError: the file is missing or broken.
    """
    if weights is None or _is_remote(weights):
        return None
    if name is not None and (reference := named(name).family.reference) is not None:
        return reference.read(name, weights) if reference.settle(weights)[1] else None
    return read_weights(weights, _bundled(weights))


def weights_paths(weights: str | None) -> list[str]:
    """The files weights are read from on this machine, the bundled ones among them."""
    bundled = {path for model in MODELS.values() for path in model.family.bundled.values()}
    paths = [str(path) for path in bundled]
    if weights is not None and not _owners(weights):
        path = expanded(weights)
        paths += [path, f"{path}.labels.json"]
    return paths


def model_labels(name: str, weights: str | WeightsFile | None = None) -> Mapping[int, str]:
    """Names by class id, without torch unless it is an old .pth without labels beside it.

    Empty where they are not known before the model is loaded.

    Raises:
        ConfigError: see `choose`.
        ModelError: the file cannot be read, or its labels do not fit its class head.
    """
    if not isinstance(weights, WeightsFile):
        name, chosen = choose(name, weights)
        weights = None if chosen is None else _about(name, chosen)
    if weights is not None:
        refuse_other(named(name), MODELS.values(), weights)
    return named(name).family.labels(weights)


def load_segmenter(
    name: str,
    *,
    weights: str | WeightsFile | None = None,
    device: str = "auto",
    precision: str = "auto",
    score_threshold: float = 0.1,
    threads: int | None = None,
    max_batch: int = 8,
    onnx: Mapping[str, Any] | None = None,
) -> Segmenter:
    """Load a model, ready to segment (warm-up is `segmenter.warm_up`, where there is one).

    Args:
        name: see `names()`; also `name:reference`, and `package.module:function`.
        weights: `COCO_V1`, `demo`, a path, or what `fetch_weights` gave; None: the model's own.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: of the dense part: `auto`, `fp32`, `fp16` (GPU) or `bf16`.
        score_threshold: detections above it are returned.
        threads: CPU threads of torch in this process; None leaves torch's setting.
        max_batch: pictures that go through the network at once.
        onnx: of a file of that kind, see `onnx_options`.

    Raises:
        ConfigError: a name, word or number that makes no sense.
        ModelError: weights or device are unusable.
    """
    file = weights if isinstance(weights, WeightsFile) else fetch_weights(name, weights)
    name, _ = split(MODELS, name, None)
    if file is not None:
        refuse_other(named(name), MODELS.values(), file)
    return named(name).family.load(
        name,
        file,
        device=device,
        precision=precision,
        score_threshold=score_threshold,
        threads=threads,
        max_batch=max_batch,
        **({"onnx": onnx_options(name, onnx)} if onnx else {}),
    )


def onnx_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """`model.onnx` of the settings: what is not told by the outputs of a file.

    Raises:
        ConfigError: a key or a value makes no sense, or the model is no ONNX file.
    """
    if options and name != ONNX.name:
        raise ConfigError(f"model.onnx: is for --model onnx:FILE.onnx, the model is {name}")
    return checked_options(options)


def is_bundled(weights: str | None) -> bool:
    """Whether weights are a word for some that come with this installation."""
    return weights is not None and _bundled(weights) is not None


def named(name: str) -> Model:
    """The row of a name; of `name:reference` that before the colon.

    Raises:
        ConfigError: there is none of that name, or it takes no reference.
    """
    return row_of(MODELS, name)


def _about(name: str, weights: str) -> WeightsFile | None:
    """What is known of weights before they are read, or fetched."""
    reference = named(name).family.reference
    if reference is not None:
        return reference.about(name, weights)
    return None if _is_remote(weights) else read_about(weights, _bundled(weights))


def is_published(weights: str) -> bool:
    """Whether weights are a word for some that are known here, and no path."""
    return bool(_owners(weights))


def _owners(word: str) -> list[Model]:
    """The models whose published weights are called so."""
    return [model for model in MODELS.values() if word in model.published]


def _bundled(word: str) -> Path | None:
    return next((model.family.bundled.get(word) for model in _owners(word)), None)


def _is_remote(word: str) -> bool:
    return bool(_owners(word)) and _bundled(word) is None


def _name_for(weights: str, read: WeightsFile | None) -> str | None:
    """The one model weights are for; None where that is open."""
    if owners := _owners(weights):
        return owners[0].name if len(owners) == 1 else None
    references = {id(m.family): m.family.reference for m in MODELS.values()}.values()
    for reference in filter(None, references):
        if (name := reference.recognise(weights)) is not None:
            return name
    return name_of(MODELS.values(), read or read_about(weights))
