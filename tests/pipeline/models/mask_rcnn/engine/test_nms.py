import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from pipeline.models.mask_rcnn.engine.operators.nms import nms


def problem(rows: int, k: int, *, seed: int = 0, groups: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Overlapping boxes, groups and scores; every row sorted by falling score."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(rows, k, 2, generator=generator) * 60
    size = torch.rand(rows, k, 2, generator=generator) * 40 + 1
    scores = torch.rand(rows, k, generator=generator).sort(dim=1, descending=True).values
    kinds = torch.randint(0, groups, (rows, k), generator=generator)
    return torch.cat([corner, corner + size], dim=2), kinds, scores


def run(
    boxes: Tensor, groups: Tensor, scores: Tensor, enough: int = 10**6, rows: int = 1
) -> Tensor:
    return nms(boxes, groups, scores, 0.5, rows, enough)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("k", [1, 2, 60, 300])
def test_the_survivors_are_those_of_torchvision(k: int, groups: int) -> None:
    boxes, kinds, scores = problem(6, k, seed=k, groups=groups)

    keep = run(boxes, kinds, scores)

    for row in range(6):
        expected = batched_nms(boxes[row], scores[row], kinds[row], 0.5)
        assert set(keep[row].nonzero()[:, 0].tolist()) == set(expected.tolist())


def test_the_survivors_are_those_of_the_definition() -> None:
    boxes, kinds, scores = problem(1, 80, seed=5, groups=3)
    overlap = box_iou(boxes[0], boxes[0])
    expected: list[int] = []
    for i in range(80):
        rivals = [j for j in expected if kinds[0, i] == kinds[0, j]]
        if all(overlap[i, j] <= 0.5 for j in rivals):
            expected.append(i)

    assert run(boxes, kinds, scores)[0].nonzero()[:, 0].tolist() == expected


def test_of_equal_boxes_with_equal_scores_the_first_survives() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]]])
    scores = torch.tensor([[0.7, 0.7, 0.7]])

    assert run(boxes, torch.zeros(1, 3, dtype=torch.int64), scores).tolist() == [
        [True, False, True]
    ]


def test_boxes_of_minus_infinity_neither_survive_nor_suppress() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 10, 10]]])
    scores = torch.tensor([[0.9, -torch.inf, -torch.inf]])
    groups = torch.zeros(1, 3, dtype=torch.int64)

    assert run(boxes, groups, scores).tolist() == [[True, False, False]]
    assert run(boxes, groups, torch.full((1, 3), -torch.inf)).tolist() == [[False] * 3]


def test_the_best_survivors_of_a_picture_are_right_when_only_some_are_wanted() -> None:
    boxes, groups, scores = problem(10, 200, seed=8)
    scores[:, 3::7] = -torch.inf  # boxes that were refused stand between the others
    everything = run(boxes, groups, scores, rows=5)
    for enough in (1, 7, 60, 199, 500):
        some = run(boxes, groups, scores, enough, rows=5)
        for part in (slice(0, 5), slice(5, 10)):
            wanted = scores[part][everything[part]].sort(descending=True).values[:enough]
            got = scores[part][some[part]].sort(descending=True).values[:enough]
            assert torch.equal(wanted, got)
