"""Anchors, proposals and detections against torchvision, from identical inputs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers

from pipeline.models.mask_rcnn.engine.anchors import level_shapes, make_grid
from pipeline.models.mask_rcnn.engine.detections import DetectionRules, detect
from pipeline.models.mask_rcnn.engine.proposals import ProposalRules, Proposals, propose

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [(160, 224), (192, 288), (32, 1344), (800, 1344), (32, 32)])
def test_anchors_are_those_of_torchvision(size: tuple[int, int], small_network: MaskRCNN) -> None:
    generator = small_network.rpn.anchor_generator
    shapes = level_shapes(size)
    features = [torch.zeros(1, 1, *shape) for shape in shapes]
    (theirs,) = generator(ImageList(torch.zeros(1, 3, *size), [size]), features)

    ours = make_grid(generator, size, CPU)

    assert torch.equal(ours.anchors, theirs)
    assert sum(ours.cells) * ours.per_cell == len(theirs)


def heads(
    shapes: list[tuple[int, int]], batch: int, seed: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Objectness and deltas as a head would put them out, without ties."""
    generator = torch.Generator().manual_seed(seed)
    logits = [torch.randn(batch, 3, *s, generator=generator) * 3 for s in shapes]
    deltas = [torch.randn(batch, 12, *s, generator=generator) * 0.5 for s in shapes]
    return logits, deltas


@pytest.mark.parametrize("padded", [(160, 288), (64, 64)])
def test_proposals_are_those_of_torchvision(
    padded: tuple[int, int], small_network: MaskRCNN
) -> None:
    rpn, shapes = small_network.rpn, level_shapes(padded)
    logits, deltas = heads(shapes, 3, seed=6)
    sizes = [(padded[0], padded[1] - 7), (padded[0] - 5, padded[1]), (padded[0] - 20, 33)]
    grid = make_grid(rpn.anchor_generator, padded, CPU)
    flat_logits, flat_deltas = concat_box_prediction_layers(list(logits), list(deltas))
    boxes = rpn.box_coder.decode(flat_deltas, [grid.anchors] * 3).view(3, -1, 4)
    counts = [3 * height * width for height, width in shapes]
    theirs, _ = rpn.filter_proposals(boxes, flat_logits, sizes, counts)

    stacked = [
        torch.cat([a, b], dim=1).permute(0, 2, 3, 1).flatten(1, 2)
        for a, b in zip(logits, deltas, strict=True)
    ]
    rules = ProposalRules.of(small_network, CPU)
    ours = propose(stacked, grid, torch.tensor(sizes, dtype=torch.float32), rules)

    for i, expected in enumerate(theirs):
        assert int(ours.valid[i].sum()) == len(expected)
        # boxes whose scores round to the same number may come in another order
        distance = torch.cdist(ours.boxes[i][ours.valid[i]], expected, p=torch.inf)
        assert distance.min(dim=0).values.max() < 1e-4
        assert distance.min(dim=1).values.max() < 1e-4
        assert not ours.boxes[i][~ours.valid[i]].any()


@pytest.mark.parametrize(
    ("filled", "rows"),
    [
        pytest.param((0, 0), 3, id="none"),
        pytest.param((3, 1), 3, id="one-quarter"),
        pytest.param((2, 4), 6, id="the-fullest-picture-counts"),
        pytest.param((10, 9), 10, id="all"),
    ],
)
def test_quarters_of_the_places_that_no_picture_fills_are_left_out(
    filled: tuple[int, int], rows: int
) -> None:
    boxes = torch.arange(80.0).view(2, 10, 4)
    valid = torch.arange(10) < torch.tensor(filled)[:, None]
    some = Proposals(boxes, valid).shortened()

    assert torch.equal(some.boxes, boxes[:, :rows])
    assert some.boxes.is_contiguous()
    assert torch.equal(some.valid, valid[:, :rows])


@pytest.fixture
def heads_of_boxes(small_network: MaskRCNN) -> Callable[..., tuple[Tensor, Tensor, Proposals]]:
    """`build(sharpness, batch)`: logits, deltas and proposals; sharp logits give few detections."""

    def build(sharpness: float, batch: int = 2) -> tuple[Tensor, Tensor, Proposals]:
        torch.manual_seed(7)
        count, classes = 300, 9
        corner = torch.rand(batch, count, 2) * 150
        boxes = torch.cat([corner, corner + 3 + torch.rand(batch, count, 2) * 80], dim=2)
        valid = torch.ones(batch, count, dtype=torch.bool)
        valid[1:, 250:] = False
        logits = torch.randn(batch * count, classes) * 2
        logits[:, 0] += sharpness
        deltas = torch.randn(batch * count, classes, 4)
        return logits, deltas, Proposals(boxes * valid[..., None], valid)

    return build


@pytest.mark.parametrize(
    ("sharpness", "least"), [pytest.param(6.0, 20, id="few"), pytest.param(0.0, 100, id="full")]
)
def test_detections_are_those_of_torchvision(
    sharpness: float,
    least: int,
    small_network: MaskRCNN,
    heads_of_boxes: Callable[..., tuple[Tensor, Tensor, Proposals]],
) -> None:
    logits, deltas, proposals = heads_of_boxes(sharpness)
    sizes = [(160, 200), (150, 224)]
    found = detect(
        logits.softmax(dim=1),
        deltas,
        proposals,
        torch.tensor(sizes, dtype=torch.float32),
        DetectionRules.of(small_network, 0.1, CPU),
    )
    assert not found.missing.any()

    for i, size in enumerate(sizes):
        rows = proposals.valid.new_zeros(2, 300)
        rows[i] = proposals.valid[i]
        rows = rows.flatten()
        (boxes,), (scores,), (labels,) = small_network.roi_heads.postprocess_detections(
            logits[rows], deltas.flatten(1)[rows], [proposals.boxes.view(-1, 4)[rows]], [size]
        )
        count = int(found.count[i])
        assert count == len(boxes) >= least
        assert torch.equal(found.classes[i, :count], labels)
        assert torch.allclose(found.scores[i, :count], scores, atol=1e-6)
        assert torch.allclose(found.boxes[i, :count], boxes, atol=1e-4)
        assert (found.scores[i, count:] == -torch.inf).all()


def test_a_cut_through_the_candidates_is_noticed_and_more_of_them_are_exact(
    small_network: MaskRCNN, heads_of_boxes: Callable[..., tuple[Tensor, Tensor, Proposals]]
) -> None:
    logits, deltas, proposals = heads_of_boxes(4.0)
    sizes = torch.tensor([[160.0, 200.0], [150.0, 224.0]])
    rules = DetectionRules.of(small_network, 0.1, CPU)

    scores = logits.softmax(dim=1)
    cut = detect(scores, deltas, proposals, sizes, rules, candidates=40)
    full = detect(scores, deltas, proposals, sizes, rules, candidates=300 * 8)
    usual = detect(scores, deltas, proposals, sizes, rules)

    above = (torch.softmax(logits, 1)[:, 1:] > 0.1).sum(dim=1).view(2, -1) * proposals.valid
    assert cut.missing.tolist() == above.sum(dim=1).tolist() == [338, 264]
    assert full.missing.tolist() == usual.missing.tolist() == [0, 0]
    assert torch.equal(full.boxes[0, : full.count[0]], usual.boxes[0, : usual.count[0]])


def test_without_any_score_above_the_threshold_there_is_nothing(
    small_network: MaskRCNN, heads_of_boxes: Callable[..., tuple[Tensor, Tensor, Proposals]]
) -> None:
    logits, deltas, proposals = heads_of_boxes(60.0)
    sizes = torch.tensor([[160.0, 200.0], [150.0, 224.0]])

    rules = DetectionRules.of(small_network, 0.1, CPU)
    found = detect(logits.softmax(dim=1), deltas, proposals, sizes, rules)

    assert found.count.tolist() == [0, 0]
    assert not found.missing.any()
