"""`Engine`: one pass of Mask R-CNN over pictures of one bucket.

It reads weights and settings from torchvision's network and computes the same detections: see the
stages, one a file. A pass asks the device for one number (how many detections were kept, to size
the mask head) before the results come to the host together.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from pipeline.models.devices import Placement
from pipeline.models.engine.anchors import Grid, make_grid
from pipeline.models.engine.box_head import BoxHead
from pipeline.models.engine.dense import Dense, DensePart
from pipeline.models.engine.detections import DetectionRules, Detections, detect
from pipeline.models.engine.layers import conv_maker
from pipeline.models.engine.mask_head import MaskHead
from pipeline.models.engine.preprocess import Batch, InputRules, Size, prepare
from pipeline.models.engine.proposals import ProposalRules, Proposals, propose
from pipeline.models.engine.roi_align import Layout, make_layout, make_table, roi_align
from pipeline.models.found import Found

_SMALLEST_MASK_BATCH = 4
_KNOWN_BUCKETS = 64
Lap = Callable[[str], None]
"""Called with the name of a stage when it is done; benchmarks measure with it."""


@dataclass(frozen=True)
class _Bucket:
    """What is made once per padded size and number of pictures."""

    grid: Grid
    layout: Layout


class Engine:
    """The fast forward of one network on one device.

    Args:
        network: torchvision's, in evaluation mode; its weights are copied.
        placement: device and number format of the dense part.
        score_threshold: detections above it are returned.
    """

    def __init__(self, network: MaskRCNN, placement: Placement, *, score_threshold: float) -> None:
        device, dtype = placement.device, placement.dtype
        make = conv_maker(device, dtype)
        self.placement = placement
        self.input_rules = InputRules.of(network)
        self.buckets: Counter[Size] = Counter()
        """How many pictures of each padded size have been seen."""
        self._generator = network.rpn.anchor_generator
        self._proposal_rules = ProposalRules.of(network, device)
        self._detection_rules = DetectionRules.of(network, score_threshold, device)
        self._dense = DensePart(network, make)
        self._box_head = BoxHead(network, make, device, dtype)
        self._mask_head = MaskHead(network, make, device, dtype)
        self._made: OrderedDict[tuple[Size, int], _Bucket] = OrderedDict()

    def run(self, images: Sequence[NDArray[np.uint8]], lap: Lap | None = None) -> list[Found]:
        """Find what is in pictures uint8 (H, W, 3) BGR that share a bucket."""
        with torch.inference_mode():
            batch = prepare(images, self.input_rules, self.placement.dtype)
            self.buckets[batch.bucket] += len(images)
            _done(lap, "preprocess")
            detections, probabilities = self.forward(batch, lap)
            return _unpack(detections, probabilities, images, batch)

    def forward(self, batch: Batch, lap: Lap | None = None) -> tuple[Detections, Tensor]:
        """All stages between the prepared pictures and the results, on the device.

        Returns:
            Detections, and the mask probabilities (N, M, M) float32 of all N of them, picture
            after picture.
        """
        dense = self._dense(batch.pixels)
        _done(lap, "body, pyramid, proposal head")
        bucket = self._bucket(batch, dense)
        proposals = propose(dense.heads, bucket.grid, batch.sizes, self._proposal_rules)
        _done(lap, "proposals")
        table = make_table(dense.levels[:-1])
        pooled = self._pool_proposals(table, bucket.layout, proposals)
        _done(lap, "RoIAlign of proposals")
        logits, deltas = self._box_head(pooled)
        _done(lap, "box head")
        detections, kept = self._detect(logits, deltas, proposals, batch.sizes)
        _done(lap, "detections")
        probabilities = self._masks(table, bucket.layout, detections, kept)
        _done(lap, "masks")
        return detections, probabilities

    def _detect(
        self, logits: Tensor, deltas: Tensor, proposals: Proposals, sizes: Tensor
    ) -> tuple[Detections, int]:
        """Detections and how many there are: the one number a pass waits for."""
        rules = self._detection_rules
        found = detect(logits, deltas, proposals, sizes, rules)
        kept = int(torch.where(found.complete.all(), found.count.sum(), -1))
        if kept < 0:
            everything = proposals.valid.shape[1] * (logits.shape[1] - 1)
            found = detect(logits, deltas, proposals, sizes, rules, everything)
            kept = int(found.count.sum())
        return found, kept

    def _pool_proposals(self, table: Tensor, layout: Layout, proposals: Proposals) -> Tensor:
        batch, count = proposals.valid.shape
        pictures = torch.arange(batch, device=table.device).repeat_interleave(count)
        return roi_align(table, layout, proposals.boxes.view(-1, 4), pictures, self._box_head.size)

    def _masks(self, table: Tensor, layout: Layout, detections: Detections, kept: int) -> Tensor:
        """Probabilities of the kept detections."""
        side = 2 * self._mask_head.size
        if kept == 0:
            return torch.zeros(0, side, side)
        rows = mask_batch(kept, detections.scores.numel(), self.placement.device)
        order = (detections.scores.flatten() >= 0).to(torch.int8)
        index = order.argsort(descending=True, stable=True)[:rows]
        boxes = detections.boxes.view(-1, 4)[index]
        pictures = index // detections.scores.shape[1]
        pooled = roi_align(table, layout, boxes, pictures, self._mask_head.size)
        return self._mask_head(pooled, detections.classes.flatten()[index])[:kept]

    def _bucket(self, batch: Batch, dense: Dense) -> _Bucket:
        key = (batch.bucket, len(batch.sizes))
        if key not in self._made:
            shapes = [(level.shape[2], level.shape[3]) for level in dense.levels]
            device = self.placement.device
            self._made[key] = _Bucket(
                make_grid(self._generator, batch.bucket, shapes, device),
                make_layout(shapes[:-1], len(batch.sizes), device),
            )
            if len(self._made) > _KNOWN_BUCKETS:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]


def mask_batch(kept: int, most: int, device: torch.device) -> int:
    """How many detections the mask head runs for when `kept` are needed.

    On a GPU the next power of two: few shapes. On a CPU the next multiple of four: little waste.
    """
    rows = _SMALLEST_MASK_BATCH
    while rows < kept:
        rows = 2 * rows if device.type == "cuda" else rows + _SMALLEST_MASK_BATCH
    return min(rows, max(most, _SMALLEST_MASK_BATCH))


def _done(lap: Lap | None, stage: str) -> None:
    if lap is not None:
        lap(stage)


def _unpack(
    detections: Detections,
    probabilities: Tensor,
    images: Sequence[NDArray[np.uint8]],
    batch: Batch,
) -> list[Found]:
    """To the host, and from resized to source pixels."""
    counts = detections.count.tolist()
    boxes = detections.boxes.cpu().numpy()
    scores = detections.scores.cpu().numpy()
    classes = detections.classes.cpu().numpy()
    masks = probabilities.cpu().numpy()
    sizes = batch.sizes.cpu().numpy()
    found = []
    first = 0
    for i, (image, count) in enumerate(zip(images, counts, strict=True)):
        ratio = np.array(image.shape[:2], np.float32) / sizes[i]
        found.append(
            Found(
                boxes[i, :count] * np.tile(ratio[::-1], 2),
                scores[i, :count],
                classes[i, :count],
                masks[first : first + count],
                image.shape[:2],
            )
        )
        first += count
    return found
