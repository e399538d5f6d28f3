"""From objectness and deltas of all anchors to P proposals a picture, in fixed shapes.

Logits rank the anchors as scores would. The best 1000 of each level are chosen first and only these
are decoded; suppression works on one row per picture and level; the best P survivors remain. The
number of operations depends on neither the number of pictures nor what is in them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from pipeline.models.mask_rcnn.engine.anchors import Grid
from pipeline.models.mask_rcnn.engine.boxes import clip, decode, large_enough
from pipeline.models.mask_rcnn.engine.operators.nms import Nms, nms


@dataclass(frozen=True)
class ProposalRules:
    """The settings of torchvision's region proposal network."""

    per_level: int
    total: int
    overlap: float
    smallest: float
    least_score: float
    """As a logit."""
    weights: Tensor

    @staticmethod
    def of(network: MaskRCNN, device: torch.device, smallest: float | None = None) -> ProposalRules:
        """Read from a network in evaluation mode, `smallest` too where none is given."""
        rpn = network.rpn
        return ProposalRules(
            rpn.pre_nms_top_n(),
            rpn.post_nms_top_n(),
            rpn.nms_thresh,
            rpn.min_size if smallest is None else smallest,
            math.log(rpn.score_thresh / (1 - rpn.score_thresh)) if rpn.score_thresh else -math.inf,
            torch.tensor(rpn.box_coder.weights, device=device),
        )


@dataclass(frozen=True)
class Proposals:
    """P places for each of B pictures."""

    boxes: Tensor
    """(B, P, 4) float32 in the resized picture, by falling score; zeros where not valid."""
    valid: Tensor
    """(B, P) bool."""

    def shortened(self) -> Proposals:
        """Without those quarters of the places that no picture fills; it waits for the device.

        In a small picture most places stay empty, and the box head costs as much for them. By
        quarters, because layers keep their weights in an order for each of a few numbers of rows.
        """
        quarter = -(-self.valid.shape[1] // 4)
        filled = int(self.valid.sum(dim=1).max())
        rows = max(1, -(-filled // quarter)) * quarter
        return Proposals(self.boxes[:, :rows].contiguous(), self.valid[:, :rows])


def propose(
    heads: list[Tensor], grid: Grid, sizes: Tensor, rules: ProposalRules, suppress: Nms = nms
) -> Proposals:
    """Select proposals.

    Args:
        heads: per level (B, cells, 5 * A): logits, then deltas.
        grid: the anchors.
        sizes: (B, 2) height and width of the resized pictures.
        rules: what to keep.
        suppress: the form of non-maximum suppression for the device.
    """
    boxes, scores = _best_per_level(heads, grid, sizes, rules)
    batch, levels, k = scores.shape
    good = large_enough(boxes, rules.smallest) & (scores >= rules.least_score)
    scores = torch.where(good, scores, -math.inf).view(batch * levels, k)
    keep = suppress(
        boxes.view(batch * levels, k, 4),
        torch.zeros_like(scores, dtype=torch.int64),
        scores,
        rules.overlap,
        levels,
        rules.total,
    )
    scores = torch.where(keep, scores, -math.inf).view(batch, levels * k)
    best, index = scores.topk(min(rules.total, levels * k), dim=1)
    chosen = boxes.view(batch, levels * k, 4).gather(1, index[..., None].expand(-1, -1, 4))
    valid = best > -math.inf
    return Proposals(chosen * valid[..., None], valid)


def _best_per_level(
    heads: list[Tensor], grid: Grid, sizes: Tensor, rules: ProposalRules
) -> tuple[Tensor, Tensor]:
    """(B, levels, K, 4) clipped boxes and (B, levels, K) logits, padded with minus infinity."""
    a = grid.per_cell
    k = min(rules.per_level, max(grid.cells) * a)
    logits, index, deltas = [], [], []
    first = 0
    for head, cells in zip(heads, grid.cells, strict=True):
        best, at = head[..., :a].flatten(1).float().topk(min(k, cells * a), dim=1)
        missing = k - best.shape[1]
        logits.append(F.pad(best, (0, missing), value=-torch.inf))
        at = F.pad(at, (0, missing))
        index.append(at + first)
        first += cells * a
        columns = torch.arange(4, device=head.device) + a  # the deltas stand behind the logits
        entry = (at // a * (5 * a) + at % a * 4)[..., None] + columns
        deltas.append(head.flatten(1).gather(1, entry.flatten(1)).float().view(*at.shape, 4))
    anchors = grid.anchors[torch.stack(index, dim=1)]
    boxes = decode(torch.stack(deltas, dim=1), anchors, rules.weights)
    return clip(boxes, sizes), torch.stack(logits, dim=1)
