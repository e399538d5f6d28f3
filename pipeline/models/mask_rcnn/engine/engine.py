"""`Engine`: one pass of Mask R-CNN over pictures of one bucket.

It reads weights and settings from torchvision's network and computes the same detections: see the
stages, one a file. A pass asks the device for one number (how many detections were kept, to size
the mask head) before the results come to the host together.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from pipeline.arrays import Size
from pipeline.models.mask_rcnn.engine.anchors import Grid, level_shapes, make_grid
from pipeline.models.mask_rcnn.engine.box_head import BoxHead
from pipeline.models.mask_rcnn.engine.cuda import Cuda, cuda_for
from pipeline.models.mask_rcnn.engine.dense import DensePart
from pipeline.models.mask_rcnn.engine.detections import (
    CANDIDATES,
    BoxDetections,
    DetectionRules,
    detect,
)
from pipeline.models.mask_rcnn.engine.dialect import TORCHVISION, Dialect
from pipeline.models.mask_rcnn.engine.lanes import Lane, Lanes, Pass, Steps
from pipeline.models.mask_rcnn.engine.last_head import LastHead, Regions
from pipeline.models.mask_rcnn.engine.mask_head import MaskHead
from pipeline.models.mask_rcnn.engine.operators.kernels import Kernels
from pipeline.models.mask_rcnn.engine.operators.preprocess import Batch
from pipeline.models.mask_rcnn.engine.operators.roi_align import Layout, make_layout, make_table
from pipeline.models.mask_rcnn.engine.proposals import ProposalRules, Proposals, propose
from pipeline.models.mask_rcnn.engine.results import Results, bring
from pipeline.models.mask_rcnn.found import Found
from pipeline.models.shared.devices import Placement
from pipeline.models.shared.layers import conv_maker

_SMALLEST_MASK_BATCH = 4
_KNOWN_BUCKETS = 64
_DEPTH_ON_GPU = 2
PAIRS_AT_ONCE = 2**31
"""A bit each: a quarter of a gigabyte."""
Lap = Callable[[str], None]
"""Called with the name of a stage when it is done; benchmarks measure with it."""


@dataclass(frozen=True)
class _Bucket:
    """What is made once per padded size and number of pictures."""

    key: tuple[Size, int]
    grid: Grid
    layout: Layout


class Engine:
    """The fast forward of one network on one device.

    Args:
        network: torchvision's, in evaluation mode; its weights are copied.
        placement: device and number format of the dense part.
        score_threshold: detections above it are returned.
        depth: passes that may be under way at once; None: two on a GPU, one on a CPU.
        cuda: of the device; None: what the device has. Another for tests.
        kernels: forms of the operations; None: the fastest that are right on the device.
        dialect: of the framework the weights are from.
        last_head: makes what says more about each detection: its mask, for one.
    """

    def __init__(
        self,
        network: MaskRCNN,
        placement: Placement,
        *,
        score_threshold: float,
        depth: int | None = None,
        cuda: Cuda | None = None,
        kernels: Kernels | None = None,
        dialect: Dialect = TORCHVISION,
        last_head: Callable[..., LastHead] = MaskHead,
    ) -> None:
        device, dtype = placement.device, placement.dtype
        self._cuda = cuda or cuda_for(device)
        make = conv_maker(device, dtype)
        self.placement = placement
        self.score_threshold = score_threshold
        self.dialect = dialect
        self.input_rules = dialect.input_rules(network)
        self.buckets: Counter[Size] = Counter()
        """How many pictures of each padded size have been seen."""
        self._generator = network.rpn.anchor_generator
        self._proposal_rules = ProposalRules.of(network, device, dialect.smallest_proposal)
        self._detection_rules = DetectionRules.of(
            network, score_threshold, device, dialect.smallest_detection
        )
        self._dense = DensePart(network, make)
        self._box_heads = BoxHead.stages(network, make, device, dtype)
        self.rows = self._box_heads[-1].rows
        """Of the class head, background included."""
        self._last_head = last_head(network, make, device, dtype)
        self._kernels = kernels or dialect.kernels(device)
        self.depth = depth or (_DEPTH_ON_GPU if self._cuda else 1)
        self._lanes = Lanes(self._cuda, self.depth)
        self._paste = self._kernels.paste if self._last_head.pastes else None
        self._found = partial(self._last_head.found, paste=dialect.paste)
        self._made: OrderedDict[tuple[Size, int], _Bucket] = OrderedDict()
        self._finish()

    def run(self, images: Sequence[NDArray[np.uint8]], lap: Lap | None = None) -> list[Found]:
        """Find what is in pictures uint8 (H, W, 3) BGR that share a bucket."""
        return self.submit(images, lap).result()

    def submit(
        self, images: Sequence[NDArray[np.uint8]], lap: Lap | None = None
    ) -> Pass[list[Found]]:
        """Begin to find what is in pictures that share a bucket, and return at once on a GPU.

        Up to `depth` passes are under way; with one more, the oldest is finished first.
        """
        return self._lanes.start(partial(self._steps, images, lap))

    def rehearse(self, images: Sequence[NDArray[np.uint8]]) -> list[Found]:
        """Run on pictures with nothing in them as if there were something: every stage runs once.

        What it finds means nothing.
        """
        return self._lanes.start(partial(self._steps, images, None, at_least=1)).result()

    def forward(self, batch: Batch, lap: Lap | None = None) -> Results:
        """All stages between the prepared pictures and the results, on the device."""
        return self._lanes.start(partial(self._forward, batch, lap)).result()

    def forget(self) -> None:
        """Finish what is under way and give up the memory of recorded graphs."""
        self._lanes.forget()

    def _steps(
        self,
        images: Sequence[NDArray[np.uint8]],
        lap: Lap | None,
        lane: Lane,
        at_least: int = 0,
    ) -> Steps[list[Found]]:
        placement = self.placement
        batch = self._kernels.prepare(images, self.input_rules, placement.dtype, placement.device)
        self.buckets[batch.bucket] += len(images)
        _done(lap, "preprocess")
        results = yield from self._forward(batch, lap, lane, at_least)
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        return (yield from bring(results, sizes, self._paste, self._found))

    def _forward(
        self, batch: Batch, lap: Lap | None, lane: Lane, at_least: int = 0
    ) -> Steps[Results]:
        bucket = self._bucket(batch)
        run = lane.graphs.run if lap is None else _directly
        call = partial(self._until_detections, bucket, lap)
        table, *found = run(bucket.key, call, batch.pixels, batch.sizes)
        (count,) = yield found[-1:]
        kept = int(count)  # the one number a pass waits for
        if kept < 0:
            found = self._detect_all(found, batch.sizes, -kept)
            (count,) = yield found[-1:]
            kept = int(count)
        kept = max(kept, at_least)
        _done(lap, "detections")
        rows = mask_batch(kept, found[1].numel(), self.placement.device)
        if not kept:
            return Results.none(self._last_head.nothing(self.placement.device))
        call = partial(self._last, bucket, rows)
        outputs = run((bucket.key, rows), call, table, *found[:3], batch.sizes, batch.source)
        _done(lap, "masks")
        return Results.of(output[:kept] for output in outputs)

    def _until_detections(
        self, bucket: _Bucket, lap: Lap | None, pixels: Tensor, sizes: Tensor
    ) -> tuple[Tensor, ...]:
        """Pictures to feature table, detections, what they were chosen from, and their number.

        Where the candidates were cut short it is the number there should be, negated.
        """
        dense = self._dense(pixels)
        _done(lap, "body, pyramid, proposal head")
        proposals = propose(
            dense.heads, bucket.grid, sizes, self._proposal_rules, self._kernels.nms
        )
        if not self._cuda:
            proposals = proposals.shortened()
        _done(lap, "proposals")
        table = make_table(dense.levels[:-1])
        scores, deltas, proposals = self._scored(table, bucket.layout, proposals, sizes, lap)
        found = self._detect(scores, deltas, proposals, sizes, CANDIDATES)
        missing = found.missing.max()
        kept = torch.where(missing > 0, -missing, found.count.sum())
        detections = (found.boxes, found.scores, found.classes)
        return table, *detections, scores, deltas, proposals.boxes, proposals.valid, kept

    def _scored(
        self, table: Tensor, layout: Layout, proposals: Proposals, sizes: Tensor, lap: Lap | None
    ) -> tuple[Tensor, Tensor, Proposals]:
        """Scores, the mean over the stages; deltas of the last one, and where it has looked."""
        batch, count = proposals.valid.shape
        pictures = torch.arange(batch, device=table.device)[:, None].expand(batch, count)
        scores: list[Tensor] = []
        for head in self._box_heads:
            boxes = proposals.boxes.view(-1, 4)
            pooled = self._kernels.roi_align(table, layout, boxes, pictures.reshape(-1), head.size)
            _done(lap, "RoIAlign of proposals")
            logits, deltas = head(pooled, batch)
            scores.append(torch.softmax(logits, dim=-1))
            _done(lap, "box head")
            if head is not self._box_heads[-1]:
                proposals = head.refined(proposals, deltas, sizes)
        mean = scores[0] if len(scores) == 1 else torch.stack(scores).mean(dim=0)
        return mean, deltas, proposals

    def _detect(
        self, scores: Tensor, deltas: Tensor, proposals: Proposals, sizes: Tensor, candidates: int
    ) -> BoxDetections:
        rules = self._detection_rules
        return detect(scores, deltas, proposals, sizes, rules, candidates, self._kernels.nms)

    def _detect_all(self, found: Sequence[Tensor], sizes: Tensor, candidates: int) -> list[Tensor]:
        """Boxes, scores and classes of detections out of all candidates, and their number.

        So many `candidates` are above the threshold in one of the pictures. Suppression compares
        them in pairs, so that only as many pictures are looked at together as have room for that.
        """
        scores, deltas, boxes, valid = found[3:7]
        batch, count = valid.shape
        everything = count * (scores.shape[1] - 1)
        candidates = min(everything, 1 << (candidates - 1).bit_length())  # few shapes
        at_once = max(1, PAIRS_AT_ONCE // candidates**2)
        parts = []
        for first in range(0, batch, at_once):
            some = slice(first, first + at_once)
            rows = slice(first * count, (first + at_once) * count)
            proposals = Proposals(boxes[some], valid[some])
            again = self._detect(scores[rows], deltas[rows], proposals, sizes[some], candidates)
            parts.append((again.boxes, again.scores, again.classes, again.count))
        *detections, counts = (torch.cat(part) for part in zip(*parts, strict=True))
        return [*detections, counts.sum()]

    def _last(
        self,
        bucket: _Bucket,
        rows: int,
        table: Tensor,
        boxes: Tensor,
        scores: Tensor,
        classes: Tensor,
        sizes: Tensor,
        source: Tensor,
    ) -> tuple[Tensor, ...]:
        """`rows` detections, the kept ones first, in source pixels, and what is said of each."""
        found = (scores.flatten() >= 0).to(torch.int8)
        index = found.argsort(descending=True, stable=True)[:rows]
        pictures = index // scores.shape[1]
        at = boxes.view(-1, 4)[index]
        labels = classes.flatten()[index]
        regions = Regions(table, bucket.layout, at, pictures, self._kernels.roi_align)
        scale = (source / sizes).flip(1).repeat(1, 2)[pictures]
        said = self._last_head.say(regions, labels, scale)
        return pictures, at * scale, scores.flatten()[index], labels, *said

    def _finish(self) -> None:
        """Wait for what all lanes will read."""
        if self._cuda:
            self._cuda.synchronize()

    def _bucket(self, batch: Batch) -> _Bucket:
        key = (batch.bucket, len(batch.sizes))
        if key not in self._made:
            device = self.placement.device
            self._made[key] = _Bucket(
                key,
                make_grid(self._generator, batch.bucket, device, self.dialect.strides),
                make_layout(
                    level_shapes(batch.bucket)[:-1],
                    len(batch.sizes),
                    device,
                    least_areas=self.dialect.least_areas,
                ),
            )
            self._finish()
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


def _directly(
    key: object, call: Callable[..., tuple[Tensor, ...]], *inputs: Tensor
) -> tuple[Tensor, ...]:
    return call(*inputs)


def _done(lap: Lap | None, stage: str) -> None:
    if lap is not None:
        lap(stage)
