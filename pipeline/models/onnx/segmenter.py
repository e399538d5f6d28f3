"""An ONNX file as a `Segmenter`, run by onnxruntime."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import torch

from pipeline.arrays import Image
from pipeline.errors import ConfigError, ModelError, SegmentFailed
from pipeline.instances import Instances
from pipeline.models.onnx.decode import DECODERS, instances
from pipeline.models.onnx.layout import ExportLayout, layout_of
from pipeline.models.onnx.preprocess import feed
from pipeline.models.shared.devices import place
from pipeline.models.shared.files import WeightsFile, parse_labels
from pipeline.models.shared.guard import guarded
from pipeline.models.shared.labels import COCO_CLASSES, COCO_LABELS
from pipeline.models.shared.pictures import check_picture
from pipeline.stages import ModelInfo

_SILENT = 4
"""Severity onnxruntime logs from: what is wrong is raised."""


def load_onnx(
    name: str,
    file: WeightsFile,
    *,
    device: str = "auto",
    precision: str = "auto",
    score_threshold: float = 0.1,
    threads: int | None = None,
    max_batch: int = 8,
    onnx: Mapping[str, Any] | None = None,
) -> OnnxSegmenter:
    """Load a file; see `pipeline.models.load_segmenter`.

    `precision` is the file's own: only `auto` is taken. Pictures go one by one. `onnx` are the
    settings `model.onnx`.
    """
    if not 0.0 <= score_threshold <= 1.0:
        raise ConfigError(f"score_threshold: expected 0 to 1, got {score_threshold}")
    if precision != "auto":
        raise ConfigError(f"precision {precision}: an ONNX file has its own; leave it at auto")
    session = _session(file, place(device).device.type, threads)
    (given, *more) = session.get_inputs()
    shape = tuple(side if isinstance(side, int) else None for side in given.shape)
    if more or given.type != "tensor(float)" or not _fits(shape):
        got = ", ".join(f"{i.name} {i.type} {list(i.shape)}" for i in session.get_inputs())
        raise ModelError(
            f"weights {file.origin}: expected one input of floats, (1, 3, H, W) or (3, H, W), got "
            f"{got[:200]}"
        )
    outputs = {output.name: list(output.shape or []) for output in session.get_outputs()}
    layout = layout_of(outputs, onnx or {}, file.origin)
    if None in shape[-2:] and layout.fit != "picture" and layout.size is None:
        raise ModelError(
            f"weights {file.origin}: its input leaves height and width open; say which it was made "
            "for: model.onnx.size: [HEIGHT, WIDTH]"
        )
    rows = outputs[layout.outputs["labels"]][-1] if layout.layout == "rfdetr" else None
    labels = _labels(session, file, rows)
    info = ModelInfo(name, dict(labels), file.sha256)
    return OnnxSegmenter(session, shape, layout, info, rows=rows, score_threshold=score_threshold)


def _session(file: WeightsFile, device: str, threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    if threads is not None:
        options.intra_op_num_threads = threads
    providers = ["CPUExecutionProvider"]
    if device == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")
    try:
        return onnxruntime.InferenceSession(file.data, options, providers=providers)
    except Exception as error:  # the runtime has many of its own
        reason = str(error).strip().partition("\n")[0][:300]
        raise ModelError(f"weights {file.origin}: onnxruntime cannot load it: {reason}") from error


def _fits(shape: tuple[int | None, ...]) -> bool:
    batch = shape[:-3] in ((), (1,), (None,))
    return len(shape) in (3, 4) and batch and shape[-3] in (3, None)


def _labels(session: Any, file: WeightsFile, rows: int | None) -> Mapping[int, str]:
    """Beside the file, inside it, or COCO's where the rows are as many as it has ids."""
    if file.labels is not None:
        return file.labels
    inside = session.get_modelmeta().custom_metadata_map
    if "labels" in inside:
        return parse_labels(inside["labels"], f"weights {file.origin}: metadata `labels`")
    if "names" in inside:  # of the YOLO exporters, by row
        return _names(inside["names"], file.origin)
    if rows == COCO_CLASSES:
        return COCO_LABELS
    raise ModelError(
        f"weights {file.origin}: its classes have no names; put them beside it into "
        f'{file.origin}.labels.json: ["car", ...] (ids from 1) or {{"1": "car", ...}}'
    )


def _names(text: str, origin: str) -> Mapping[int, str]:
    try:
        names = ast.literal_eval(text)
        ordered = [str(names[row]) for row in sorted(names)]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise ModelError(f"weights {origin}: metadata `names` cannot be read as labels") from error
    if ordered == list(COCO_LABELS.values()):
        return COCO_LABELS
    return dict(enumerate(ordered, start=1))


class OnnxSegmenter:
    """Runs a session, one picture at a time; stateless.

    Args:
        session: of onnxruntime.
        shape: of its input; sides that are open are None.
        layout: what goes in and comes out.
        info: what the records say about it.
        rows: of its class head, where its outputs tell.
        score_threshold: instances above it are returned.
    """

    def __init__(
        self,
        session: Any,
        shape: tuple[int | None, ...],
        layout: ExportLayout,
        info: ModelInfo,
        *,
        rows: int | None = None,
        score_threshold: float = 0.1,
    ) -> None:
        self._session: Any = session
        self._input = session.get_inputs()[0].name
        self._shape = shape
        self._layout = layout
        self._info = info
        self._threshold = score_threshold
        ids = sorted(info.labels)
        # torchvision's rows are class ids, and those of COCO's 91; others count labels from 0
        numbered = layout.layout == "torchvision" or rows == COCO_CLASSES
        self._ids = {i: i for i in ids} if numbered else dict(enumerate(ids))

    @property
    def info(self) -> ModelInfo:
        """Name, labels and digest of the file."""
        return self._info

    def segment(self, images: Sequence[Image]) -> list[Instances]:
        """Segment pictures one after another; see `pipeline.stages.Segmenter`.

        Raises:
            SegmentFailed: with cause `bad_picture`, `out_of_memory`, `model_error` or `closed`.
        """
        if self._session is None:
            raise SegmentFailed("closed", "the segmenter was closed")
        for image in images:
            check_picture(image)
        here = torch.device("cpu")
        return [guarded(partial(self._one, image), [image], here) for image in images]

    def close(self) -> None:
        """Release the session. Safe to call twice."""
        self._session = None

    def _one(self, image: Image) -> Instances:
        fed = feed(image, self._layout, self._shape)
        roles = list(self._layout.outputs)
        names = [self._layout.outputs[role] for role in roles]
        try:
            values = self._session.run(names, {self._input: fed.pixels})
        except Exception as error:  # the runtime has many of its own
            reason = str(error).strip().partition("\n")[0][:300]
            raise SegmentFailed("model_error", reason) from error
        outputs = {role: np.asarray(value) for role, value in zip(roles, values, strict=True)}
        found = DECODERS[self._layout.layout](outputs, fed)
        return instances(found, fed, (image.shape[0], image.shape[1]), self._ids, self._threshold)
