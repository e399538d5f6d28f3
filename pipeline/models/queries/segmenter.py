"""A model of the library transformers as a `Segmenter`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.arrays import Image, Size
from pipeline.errors import ConfigError, ModelError, SegmentFailed
from pipeline.instances import Instances
from pipeline.models.queries import decode
from pipeline.models.queries.labels import Classes, classes_of
from pipeline.models.queries.preprocess import NetworkInput, Preprocess
from pipeline.models.queries.reference import config_of, digest_of, folder_of
from pipeline.models.shared.devices import Placement, place
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.guard import guarded
from pipeline.models.shared.pictures import check_picture
from pipeline.stages import ModelInfo

_NETWORKS = {
    "rf_detr": "RfDetrForInstanceSegmentation",
    "eomt": "EomtForUniversalSegmentation",
    "eomt_dinov3": "EomtDinov3ForUniversalSegmentation",
    "mask2former": "Mask2FormerForUniversalSegmentation",
    "maskformer": "MaskFormerForInstanceSegmentation",
    "oneformer": "OneFormerForUniversalSegmentation",
}
"""Classes of transformers by `model_type`."""


def load_queries(
    name: str,
    file: WeightsFile,
    *,
    device: str = "auto",
    precision: str = "auto",
    score_threshold: float = 0.1,
    threads: int | None = None,
    max_batch: int = 8,
) -> QuerySegmenter:
    """Load a network by its reference; see `pipeline.models.load_segmenter`.

    `precision: auto` is fp32: these networks were published with it. `max_batch` changes nothing:
    pictures go one by one, so that none depends on its neighbours.
    """
    if not 0.0 <= score_threshold <= 1.0:
        raise ConfigError(f"score_threshold: expected 0 to 1, got {score_threshold}")
    if threads is not None:
        torch.set_num_threads(threads)
    placement = place(device, "fp32" if precision == "auto" else precision)
    folder = folder_of(file.origin)
    found = digest_of(folder, file.origin)
    if file.sha256 and found != file.sha256:
        raise ModelError(
            f"weights {file.origin}: what is in {folder} on this machine is not what the run was "
            f"started with (sha256 {found[:8]}..., expected {file.sha256[:8]}...)"
        )
    config = config_of(folder, file.origin)
    kind = str(config["model_type"])
    classes = classes_of(config, file.origin)
    network = _network(kind, folder, file.origin).eval().to(placement.device)
    prepare = Preprocess(kind, folder, file.origin, config, placement.device)
    info = ModelInfo(name, dict(classes.labels), found)
    return QuerySegmenter(
        network, kind, prepare, classes, info, placement, score_threshold=score_threshold
    )


def _network(kind: str, folder: Path, origin: str) -> nn.Module:
    import transformers

    log: Any = transformers.logging
    kept = log.get_verbosity()
    log.set_verbosity_error()  # it would draw bars and list names
    log.disable_progress_bar()
    try:
        made, told = getattr(transformers, _NETWORKS[kind]).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # the library has many of its own
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise ModelError(f"weights {origin}: transformers cannot load it: {reason}") from error
    finally:
        log.set_verbosity(kept)
    if missing := sorted(told["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ModelError(
            f"weights {origin}: {len(missing)} tensors are missing: {', '.join(missing[:3])}{more}"
        )
    return made.requires_grad_(False)


class QuerySegmenter:
    """Runs a network of transformers, one picture at a time; stateless.

    Args:
        network: on its device, in evaluation mode.
        kind: `model_type` of its configuration.
        prepare: makes its inputs.
        classes: what the rows of its class head stand for.
        info: what the records say about it.
        placement: device and precision.
        score_threshold: instances above it are returned.
    """

    def __init__(
        self,
        network: nn.Module,
        kind: str,
        prepare: Preprocess,
        classes: Classes,
        info: ModelInfo,
        placement: Placement,
        *,
        score_threshold: float = 0.1,
    ) -> None:
        self._network: nn.Module | None = network
        self._kind = kind
        self._prepare = prepare
        self._classes = classes
        self._info = info
        self._placement = placement
        self._threshold = score_threshold

    @property
    def info(self) -> ModelInfo:
        """Name, labels and digest of the weights."""
        return self._info

    def warm_up(self, size: Size = (720, 1280)) -> None:
        """Run on a black picture, so that the first real one is not the slow one."""
        self.segment([np.zeros((*size, 3), np.uint8)])

    def segment(self, images: Sequence[Image]) -> list[Instances]:
        """Segment pictures one after another; see `pipeline.stages.Segmenter`.

        Raises:
            SegmentFailed: with cause `bad_picture`, `out_of_memory`, `model_error` or `closed`.
        """
        network = self._network
        if network is None:
            raise SegmentFailed("closed", "the segmenter was closed")
        for image in images:
            check_picture(image)
        return [
            guarded(partial(self._one, network, image), [image], self._placement.device)
            for image in images
        ]

    def close(self) -> None:
        """Release the network's memory. Safe to call twice."""
        self._network = None
        if self._placement.device.type == "cuda":
            torch.cuda.empty_cache()

    def _one(self, network: nn.Module, image: Image) -> Instances:
        prepared = self._prepare(image)
        device, dtype = self._placement.device.type, self._placement.dtype
        with (
            torch.inference_mode(),
            torch.autocast(device, dtype, enabled=dtype != torch.float32),
        ):
            output = network(**prepared.inputs)
            return self._decoded(output, prepared, (image.shape[0], image.shape[1]))

    def _decoded(self, output: Any, prepared: NetworkInput, size: Size) -> Instances:
        padded: Size | None = prepared.padded
        kept: Size | None = prepared.kept
        if self._kind == "rf_detr":
            answers = decode.Answers(output.logits[0], output.pred_masks[0], output.pred_boxes[0])
            chosen = decode.best_independent(answers.classes.float())
            if kept == padded:  # the masks cover the picture: one resize, as published
                padded = kept = None
        else:
            answers = decode.Answers(output.class_queries_logits[0], output.masks_queries_logits[0])
            choose = decode.best_of_each if self._kind.startswith("eomt") else decode.best_pairs
            chosen = choose(answers.classes.float())
        return decode.instances(
            answers, chosen, self._classes.ids, size,
            threshold=self._threshold, padded=padded, kept=kept, weighed=self._kind != "rf_detr",
        )  # fmt: skip
