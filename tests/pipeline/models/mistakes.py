"""Mistakes that are easily made with the engine's networks, made on purpose.

The names are those of `mistakes.json` beside the recorded outputs. Each function says whether the
comparison sees its mistake; what they have in common works for every network of a framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import roi_align
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.models.mask_rcnn.engine.anchors import level_shapes, make_grid
from pipeline.models.mask_rcnn.engine.box_head import BoxHead
from pipeline.models.mask_rcnn.engine.dense import Dense, DensePart
from pipeline.models.mask_rcnn.engine.detections import DetectionRules, detect
from pipeline.models.mask_rcnn.engine.dialect import TORCHVISION, Dialect
from pipeline.models.mask_rcnn.engine.last_head import Regions
from pipeline.models.mask_rcnn.engine.operators.preprocess import Batch, InputRules, prepare
from pipeline.models.mask_rcnn.engine.operators.roi_align import make_layout, make_table
from pipeline.models.mask_rcnn.engine.proposals import ProposalRules, Proposals, propose
from pipeline.models.shared.layers import conv_maker
from pipeline.models.shared.resnet import put_strides_first
from tests.pipeline.models.golden import Golden, Pool, batch_of

CPU = torch.device("cpu")
CASE = "1"
"""The picture whose padded size is no multiple of 64, and whose results are asked for larger."""
MAKE = conv_maker(CPU, torch.float32)
SEEN, RIGHT = 10, 1
"""Tolerances beyond which a mistake is seen, and within which all is right."""


@dataclass(frozen=True)
class Made:
    """A network with recorded outputs, and what it makes of a recorded picture."""

    golden: Golden
    network: Any
    dialect: Dialect

    def prepared(self, picture: np.ndarray, **change: tuple[float, ...]) -> Batch:
        """The picture as the network gets it."""
        if self.dialect is not TORCHVISION:
            return batch_of(self.golden, CASE, self.network, **change)
        rules = replace(InputRules.of(self.network), **change)
        return prepare([picture], rules, torch.float32)

    @cached_property
    def batch(self) -> Batch:
        """As it should be."""
        return self.prepared(self.golden.picture(CASE))

    @cached_property
    def dense(self) -> Dense:
        """Pyramid and proposal head."""
        with torch.inference_mode():
            return DensePart(self.network, MAKE)(self.batch.pixels)

    def off(self, name: str, ours: Any) -> float:
        """In tolerances."""
        return self.golden.error(CASE, name, ours)

    def body(self, stages: int, pixels: Tensor | None = None) -> float:
        """The last of the first stages, 0 is the stem."""
        body, pixels = self.network.backbone.body, self.batch.pixels if pixels is None else pixels
        with torch.inference_mode():
            x = body.maxpool(body.relu(body.bn1(body.conv1(pixels.contiguous()))))
            for stage in range(1, stages + 1):
                x = body[f"layer{stage}"](x)
        return self.off(f"c{stages + 1}" if stages else "stem", x[0])

    def heads(self, dense: Dense | None = None) -> float:
        """Objectness, all levels one after another."""
        levels = (self.dense if dense is None else dense).heads
        logits = torch.cat([level[0, :, :3].reshape(-1) for level in levels])
        return self.off("rpn_logits", logits.numpy())

    def deltas(self) -> float:
        """Every fourth one of the proposal head."""
        rows = [level[0, :, 3:15].reshape(-1, 4) for level in self.dense.heads]
        return self.off("rpn_deltas", torch.cat(rows)[::4].numpy())

    def anchors(self, **change: Any) -> float:
        """Every fourth one."""
        settings = {
            "generator": self.network.rpn.anchor_generator,
            "strides": self.dialect.strides,
            **change,
        }
        grid = make_grid(padded=self.batch.bucket, device=CPU, **settings)
        return self.off("anchors", grid.anchors[::4])

    def proposals_found(self, total: int = 1000) -> int:
        """How many of the recorded thousand."""
        generator = self.network.rpn.anchor_generator
        grid = make_grid(generator, self.batch.bucket, CPU, self.dialect.strides)
        rules = ProposalRules.of(self.network, CPU, self.dialect.smallest_proposal)
        ours = propose(self.dense.heads, grid, self.batch.sizes, replace(rules, total=total))
        boxes = ours.boxes[0][ours.valid[0]].numpy()
        theirs = self.golden.array(CASE, "proposal_boxes")
        near = np.abs(boxes[:, None] - theirs[None]).max(axis=2)
        return int((near < self.golden.tolerances["proposal_boxes"]).any(axis=0).sum())

    def regions(self, boxes: Tensor, pool: Pool | None = None) -> Regions:
        """Places of the picture."""
        shapes = level_shapes(self.batch.bucket)[:-1]
        layout = make_layout(shapes, 1, CPU, least_areas=self.dialect.least_areas)
        pictures = torch.zeros(len(boxes), dtype=torch.int64)
        pool = pool or self.dialect.kernels(CPU).roi_align
        return Regions(make_table(self.dense.levels[:-1]), layout, boxes, pictures, pool)

    @cached_property
    def recorded(self) -> Proposals:
        """The proposals."""
        boxes = torch.from_numpy(self.golden.array(CASE, "proposal_boxes"))[None]
        return Proposals(boxes, torch.ones(1, len(boxes[0]), dtype=torch.bool))

    @cached_property
    def scored(self) -> tuple[Tensor, Tensor, Proposals]:
        """Scores, the mean of all stages; deltas of the last, and the places they are of."""
        heads = BoxHead.stages(self.network, MAKE, CPU, torch.float32)
        places, deltas, scores = self.recorded, torch.zeros(0), []
        with torch.inference_mode():
            for number, head in enumerate(heads):
                if number:  # it looks where the one before has said
                    places = heads[number - 1].refined(places, deltas, self.batch.sizes)
                logits, deltas = head(self.regions(places.boxes[0]).pool(7))
                scores.append(logits.softmax(dim=1))
        return sum(scores) / len(heads), deltas, places

    def detections_off(self, scores: Tensor | None = None, **change: float) -> int:
        """How many are missing, or too many."""
        right, deltas, places = self.scored
        rules = DetectionRules.of(self.network, 0.05, CPU, self.dialect.smallest_detection)
        found = detect(
            right if scores is None else scores, deltas, places, self.batch.sizes,
            replace(rules, **change),
        )  # fmt: skip
        count, theirs = int(found.count), self.golden.array(CASE, "net_boxes")
        near = np.abs(found.boxes[0, :count].numpy()[:, None] - theirs[None]).max(axis=2)
        same = near < self.golden.tolerances["net_boxes"]
        first = 0 if self.dialect is TORCHVISION else 1  # detectron2 has the background last
        classes = found.classes[0, :count].numpy() - first
        same &= classes[:, None] == self.golden.array(CASE, "net_classes")[None]
        return len(theirs) - int(same.any(axis=0).sum()) + int((~same.any(axis=1)).sum())


def nothing(made: Made) -> bool:
    """The control: whether anything at all is off."""
    errors = [made.off("input", made.batch.pixels[0]), *(made.body(n) for n in range(5))]
    errors += [made.off(f"p{n}", level[0]) for n, level in enumerate(made.dense.levels, start=2)]
    errors += [made.heads(), made.deltas(), made.anchors()]
    assert max(errors) <= RIGHT, errors
    return made.proposals_found() < 998 or made.detections_off() > 4


def other_order(made: Made) -> bool:
    """Of the channels."""
    turned = made.batch.pixels.flip(1)
    return min(made.off("input", turned[0]), made.body(0, turned)) > SEEN


def bgr(made: Made) -> bool:
    """In a network that wants red first, whose mean is in that order."""
    turned = made.prepared(np.ascontiguousarray(made.golden.picture(CASE)[..., ::-1])).pixels
    return min(made.off("input", turned[0]), made.body(0, turned)) > SEEN


def divided(made: Made) -> bool:
    """By the deviations that X101 has."""
    pixels = made.prepared(made.golden.picture(CASE), std=(57.375, 57.12, 58.395)).pixels
    return made.off("input", pixels[0]) > SEEN


def scaled_in_float32(made: Made) -> bool:
    """The size of the network's input."""
    height, width = made.golden.picture("0").shape[:2]
    recorded = tuple(made.golden.array("0", "network_size")[:2].tolist())
    rules = InputRules.of(made.network)
    assert rules.resized((height, width)) == recorded
    scale = float(np.float32(rules.min_size) / np.float32(min(height, width)))
    return (int(height * scale), int(width * scale)) != recorded


def other_strides(made: Made) -> bool:
    """In the other convolution."""
    body = made.network.backbone.body
    put_strides_first(body)
    try:
        return made.body(1) <= RIGHT and made.body(2) > SEEN
    finally:
        put_strides_first(body)


@contextmanager
def with_eps(network: Any, eps: float) -> Iterator[None]:
    """Of the body's norms."""
    norms = [
        norm
        for norm in network.backbone.modules()
        if isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d)
    ]
    before = [norm.eps for norm in norms]
    for norm in norms:
        norm.eps = eps
    try:
        yield
    finally:
        for norm, right in zip(norms, before, strict=True):
            norm.eps = right


def eps_is(eps: float, made: Made) -> bool:
    """Of the norms."""
    with with_eps(made.network, eps):
        return made.body(1) > SEEN


def rounded_anchors(made: Made) -> bool:
    """As torchvision's."""
    sizes = tuple((size,) for size in (32, 64, 128, 256, 512))
    return made.anchors(generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)) > SEEN


def centred_anchors(made: Made) -> bool:
    """In the middle of their cells."""
    generator = AnchorGenerator()
    cells = zip(
        made.network.rpn.anchor_generator.cell_anchors, made.dialect.strides or (), strict=True
    )
    generator.cell_anchors = [cell + stride / 2 for cell, stride in cells]
    return made.anchors(generator=generator) > SEEN


def by_torchvision(aligned: bool, samples: int, *problem: Any) -> Tensor:
    """Torchvision's operation, of the first level alone."""
    table, layout, boxes, pictures, size = problem
    height, width = layout.on_host[0]
    features = table[: height * width].view(1, height, width, -1).permute(0, 3, 1, 2)
    places = torch.cat([pictures[:, None].float(), boxes], dim=1)
    return roi_align(features, places, size, 0.25, samples, aligned).permute(0, 2, 3, 1)


def pooled_by(aligned: bool, samples: int, made: Made) -> bool:
    """Another RoIAlign; compared where ours is, as it has to be, torchvision's own."""
    boxes = made.recorded.boxes[0]
    sides = boxes[:, 2:] - boxes[:, :2]
    on_finest = (sides.prod(dim=1) < made.dialect.least_areas[0]).nonzero()[:, 0]
    ours = made.regions(boxes[on_finest]).pool(7)

    def away(*how: Any) -> float:
        theirs = made.regions(boxes[on_finest], partial(by_torchvision, *how)).pool(7)
        return float((ours - theirs).abs().max()) / made.golden.tolerances["box_pooled"]

    assert away(*((False, 2) if made.dialect is TORCHVISION else (True, 0))) <= RIGHT
    return away(aligned, samples) > SEEN


def fewer_proposals(made: Made) -> bool:
    """300 of them."""
    return made.proposals_found(300) < 400


def laxer_suppression(made: Made) -> bool:
    """At an overlap of 0.6."""
    return made.detections_off(overlap=0.6) > 4


def background_elsewhere(made: Made) -> bool:
    """Class rows that begin one further on."""
    return made.detections_off(made.scored[0].roll(1, 1)) > 50


def relu_in_the_pyramid(made: Made) -> bool:
    """Behind its norms."""

    def make(weights: Any, *, relu: bool) -> Any:
        return MAKE(weights, relu=True)

    part = DensePart(made.network, make)
    with torch.inference_mode():
        return made.off("p2", part(made.batch.pixels).levels[0][0]) > SEEN


def one_convolution(made: Made) -> bool:
    """In the proposal head."""
    part = DensePart(made.network, MAKE)
    part._proposal = part._proposal[:1]
    with torch.inference_mode():
        return made.heads(part(made.batch.pixels)) > SEEN


CONTROL = "nothing changed (control)"
OF_DETECTRON2: dict[str, Callable[[Made], bool]] = {
    CONTROL: nothing,
    "stride in the 3x3 convolution instead of the 1x1": other_strides,
    "picture given as RGB": other_order,
    "divided by the ImageNet standard deviation as well": divided,
    "frozen batch norm eps 0 instead of 1e-5": partial(eps_is, 0.0),
    "frozen batch norm eps 1e-3": partial(eps_is, 1e-3),
    "base anchors rounded to integers": rounded_anchors,
    "anchors centred on the cell (offset 0.5)": centred_anchors,
    "RoIAlign not aligned (boxes and masks)": partial(pooled_by, False, 0),
    "RoIAlign sampling ratio 2 instead of adaptive": partial(pooled_by, True, 2),
    "300 proposals instead of 1000": fewer_proposals,
    "NMS threshold 0.6 instead of 0.5": laxer_suppression,
}
OF_TORCHVISION: dict[str, Callable[[Made], bool]] = {
    CONTROL: nothing,
    "picture given as BGR": bgr,
    "resize scale in float32 (192 rows become 199, not 200)": scaled_in_float32,
    "stride in the 1x1 convolution instead of the 3x3": other_strides,
    "batch norm eps 0 (as the V1 files need)": partial(eps_is, 0.0),
    "batch norm eps 1e-3": partial(eps_is, 1e-3),
    "ReLU after the pyramid's batch norms": relu_in_the_pyramid,
    "RPN with one convolution": one_convolution,
    "RoIAlign aligned (boxes and masks)": partial(pooled_by, True, 2),
    "RoIAlign sampling ratio adaptive instead of 2": partial(pooled_by, False, 0),
    "background last instead of first": background_elsewhere,
}
