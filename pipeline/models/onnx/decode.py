"""From the outputs of an exported model to instances of the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import batched_nms

from pipeline.arrays import Size
from pipeline.errors import SegmentFailed
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.models.onnx.preprocess import Feed
from pipeline.models.shared.raster import instances_of, rasterise

MOST = 100
_OVERLAP = 0.7
"""Of YOLO's boxes of one class: beyond, only the better one is kept."""
_BESIDE = -1e-4
"""A prototype's value beyond the box: just below the threshold, as the exporters have 0 there."""
Outputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """N candidates in the network's input, best first or not."""

    boxes: NDArray[np.float32]
    """(N, 4) xyxy in pixels of the input."""
    scores: NDArray[np.float32]
    rows: NDArray[np.int64]
    """Class rows, as the layout counts them."""
    maps: Callable[[int], Tensor] | None
    """Map of a candidate over the whole input, (h, w); None: masks are `inside`."""
    threshold: float
    """Of the maps."""
    inside: NDArray[np.float32] | None = None
    """(N, M, M) probabilities inside the boxes."""


def of_boxes(outputs: Outputs, feed: Feed) -> Decoded:
    """torchvision, detectron2, mmdeploy: boxes in pixels, probabilities of masks."""
    boxes = np.asarray(outputs["boxes"], np.float32)
    boxes = boxes.reshape(-1, boxes.shape[-1])
    scores = boxes[:, 4] if "scores" not in outputs else outputs["scores"].reshape(-1)
    masks = outputs["masks"]
    masks = masks.reshape(len(boxes), *masks.shape[-2:])
    rows = outputs["labels"].reshape(-1).astype(np.int64)
    scores = np.asarray(scores, np.float32)
    whole = masks.shape[1:] == feed.padded
    if not whole and masks.shape[1] != masks.shape[2]:
        raise SegmentFailed(
            "model_error",
            f"masks of {masks.shape[1:]} are neither those of the input {feed.padded} nor square",
        )
    if not whole:
        inside = np.asarray(masks, np.float32)
        return Decoded(boxes[:, :4], scores, rows, None, 0.5, inside)

    def map_of(row: int) -> Tensor:
        return torch.from_numpy(np.asarray(masks[row], np.float32))

    return Decoded(boxes[:, :4], scores, rows, map_of, 0.5)


def of_queries(outputs: Outputs, feed: Feed) -> Decoded:
    """RF-DETR: boxes as shares of the picture, logits of classes and masks by query."""
    logits = torch.from_numpy(np.asarray(outputs["labels"], np.float32))[0]
    scores, at = logits.sigmoid().flatten().topk(min(len(logits), logits.numel()))
    queries, rows = at // logits.shape[1], at % logits.shape[1]
    x, y, w, h = np.asarray(outputs["boxes"], np.float32)[0][queries.numpy()].T
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)
    boxes *= np.array([feed.padded[1], feed.padded[0]] * 2, np.float32)
    masks = outputs["masks"][0]

    def map_of(row: int) -> Tensor:
        return torch.from_numpy(np.asarray(masks[int(queries[row])], np.float32))

    return Decoded(boxes, scores.numpy(), rows.numpy(), map_of, 0.0)


def of_prototypes(outputs: Outputs, feed: Feed) -> Decoded:
    """YOLO-seg: boxes, classes and coefficients of prototypes, before NMS or after."""
    prototypes = torch.from_numpy(np.asarray(outputs["masks"], np.float32))[0]
    found = torch.from_numpy(np.asarray(outputs["boxes"], np.float32))[0]
    count = len(prototypes)
    if found.shape[1] == 6 + count:  # end to end: x1, y1, x2, y2, score, class
        boxes, scores, rows = found[:, :4], found[:, 4], found[:, 5].long()
    else:
        found = found.T
        scores, rows = found[:, 4:-count].max(1)
        x, y, w, h = found[:, :4].T
        boxes = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)
    near = scores > 0.001
    kept = batched_nms(boxes[near], scores[near], rows[near], _OVERLAP)[:MOST]
    chosen = near.nonzero()[:, 0][kept]
    coefficients = found[chosen, -count:]
    across = prototypes.shape[2] / feed.padded[1]
    down = prototypes.shape[1] / feed.padded[0]
    borders = boxes[chosen] * torch.tensor([across, down, across, down])
    columns, lines = torch.arange(prototypes.shape[2]), torch.arange(prototypes.shape[1])

    def map_of(row: int) -> Tensor:
        values = torch.einsum("c,chw->hw", coefficients[row], prototypes)
        x1, y1, x2, y2 = borders[row]
        within = ((lines >= y1) & (lines < y2))[:, None] & ((columns >= x1) & (columns < x2))
        return values.masked_fill(~within, _BESIDE)

    return Decoded(boxes[chosen].numpy(), scores[chosen].numpy(), rows[chosen].numpy(), map_of, 0.0)


DECODERS: dict[str, Callable[[Outputs, Feed], Decoded]] = {
    "torchvision": of_boxes,
    "detectron2": of_boxes,
    "mmdeploy": of_boxes,
    "rfdetr": of_queries,
    "yolo": of_prototypes,
}


def instances(
    found: Decoded, feed: Feed, size: Size, ids: Mapping[int, int], threshold: float
) -> Instances:
    """Candidates above a score, whose class has an id, in the picture of `size`."""
    wanted = np.flatnonzero((found.scores > threshold) & np.isin(found.rows, list(ids)))
    wanted = wanted[np.argsort(-found.scores[wanted], kind="stable")][:MOST]
    scale = np.array([size[1] / feed.kept[1], size[0] / feed.kept[0]] * 2, np.float32)
    boxes = found.boxes[wanted] * scale
    limit = np.array([size[1], size[0]] * 2, np.float32)
    boxes = np.clip(boxes, 0, limit).astype(np.float32)
    if found.inside is not None:
        masks = Masks.paste(found.inside[wanted], boxes, size)
    else:
        masks = rasterise(
            _maps(found, wanted), size,
            threshold=found.threshold, padded=feed.padded, kept=feed.kept,
        ).masks  # fmt: skip
    class_ids = np.array([ids[int(row)] for row in found.rows[wanted]], np.int64)
    return instances_of(masks, found.scores[wanted].astype(np.float32), class_ids, boxes)


def _maps(found: Decoded, wanted: NDArray[np.int64]) -> Iterator[Tensor]:
    assert found.maps is not None  # noqa: S101 - masks are one or the other
    for row in wanted:
        yield found.maps(int(row))
