"""What is most easily done wrong, done wrong on purpose: the recorded detections are not found."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.models.yolact import priors
from pipeline.models.yolact.detections import YolactDetections, overlaps
from pipeline.models.yolact.network import MaskIou, Yolact, YolactOutputs
from pipeline.models.yolact.postprocess import mask_ious, windows_of
from tests.pipeline.models.yolact.conftest import Recorded, detections, run

GRID = (138, 138)


def found_again(model: Recorded, case: str, found: YolactDetections, scores: np.ndarray) -> int:
    """Recorded detections of the same class, box (IoU above 0.999) and score (within 0.003)."""
    recorded = model.arrays
    boxes = torch.cat([found.boxes, torch.from_numpy(recorded[f"{case}.net_boxes"])])
    alike = overlaps(boxes)[: len(found.boxes), len(found.boxes) :].numpy() > 0.999
    alike &= found.classes.numpy()[:, None] == recorded[f"{case}.net_classes"]
    alike &= np.abs(scores[:, None] - recorded[f"{case}.scores"]) < 0.003
    return int(alike.any(axis=0).sum())


def again(
    model: Recorded,
    case: str,
    outputs: YolactOutputs,
    network: Yolact | None = None,
    maskiou: Callable[[Tensor], Tensor] | None = None,
) -> int:
    """How many of the recorded hundred are found in outputs."""
    network = network or model.network
    found = detections(network, outputs)
    scores = found.scores.numpy()
    if network.design.rescored:
        windows = windows_of(found.boxes.numpy(), GRID)
        net = maskiou or network.maskiou_net
        scores = scores * mask_ious(found, outputs.prototypes[0], windows, net)
    return found_again(model, case, found, scores)


@pytest.fixture
def yolact(recorded: Callable[[str], Recorded]) -> Recorded:
    return recorded("yolact_resnet50")


@pytest.fixture
def plus(recorded: Callable[[str], Recorded]) -> Recorded:
    return recorded("yolact_plus_resnet50")


@pytest.mark.parametrize("case", ["0", "1"])
@torch.inference_mode()
def test_without_a_mistake_all_are_found(yolact: Recorded, plus: Recorded, case: str) -> None:
    assert again(yolact, case, yolact.outputs(case)) == 100
    assert again(plus, case, plus.outputs(case)) == 100


# ------------------------------------------------------------------ in the network


def _as_bgr(network: Yolact) -> None:
    conv = network.backbone.conv1
    conv.weight = nn.Parameter(conv.weight.flip(1), requires_grad=False)


def _other_eps(network: Yolact) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3


def _stride_first(network: Yolact) -> None:
    for stage in (network.backbone.layer2, network.backbone.layer3, network.backbone.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)


def _background_last(network: Yolact) -> None:
    conf = network.prediction_layers[0].conf_layer
    rows = torch.arange(len(conf.weight)).view(-1, network.num_classes).roll(-1, 1).flatten()
    conf.weight, conf.bias = (
        nn.Parameter(part[rows], requires_grad=False) for part in (conf.weight, conf.bias)
    )


def _levels_the_other_way(network: Yolact) -> None:
    layers = network.fpn.pred_layers
    network.fpn.pred_layers = nn.ModuleList(reversed(list(layers)))


NETWORK_MISTAKES = [_as_bgr, _other_eps, _stride_first, _background_last, _levels_the_other_way]


@pytest.mark.parametrize("mistake", NETWORK_MISTAKES, ids=lambda f: f.__name__)
def test_a_mistake_in_the_network_is_seen(
    yolact: Recorded, mistake: Callable[[Yolact], None]
) -> None:
    network = copy.deepcopy(yolact.network)
    mistake(network)
    assert again(yolact, "1", run(network, yolact.pixels("1")), network) < 60


def _offset_convs(network: Yolact) -> list[nn.Conv2d]:
    return [m for name, m in network.named_modules() if name.endswith("conv_offset_mask")]


def _told(rows: list[int]) -> Callable[[Yolact], None]:
    """The 27 channels in another order."""

    def change(network: Yolact) -> None:
        for conv in _offset_convs(network):
            conv.weight, conv.bias = (
                nn.Parameter(part[rows], requires_grad=False) for part in (conv.weight, conv.bias)
            )

    return change


def _said(rows: slice) -> Callable[[Yolact], None]:
    """Channels that say: stay where you are (18), and count fully (9)."""

    def change(network: Yolact) -> None:
        for conv in _offset_convs(network):
            fixed = torch.tensor([0.0] * 18 + [100.0] * 9)[rows]
            conv.weight[rows], conv.bias[rows] = 0, fixed

    return change


def _doubled(network: Yolact) -> None:
    for conv in network.modules():
        if hasattr(conv, "conv_offset_mask"):
            conv.weight.mul_(2)


def _without_bias(network: Yolact) -> None:
    for conv in network.modules():
        if hasattr(conv, "conv_offset_mask"):
            conv.bias.zero_()


_Y, _X, _MASK = list(range(0, 18, 2)), list(range(1, 18, 2)), list(range(18, 27))
_PAIRS = [channel for pair in zip(_X, _Y, strict=True) for channel in pair]
_HALVES = [channel for pair in zip(range(9), range(9, 18), strict=True) for channel in pair]
PLUS_MISTAKES = {
    "picture given as BGR": _as_bgr,
    "plain convolution instead of the deformable one (offsets 0, masks 1)": _said(slice(None)),
    "masks of the deformable convolution left out (DCNv1)": _said(slice(18, None)),
    "masks times 2 (as in the DCNv2 paper's other variant)": _doubled,
    "offsets read as x, y": _told(_PAIRS + _MASK),
    "offsets read as 9 y, then 9 x": _told(_HALVES + _MASK),
    "mask channels taken first": _told(list(range(9, 27)) + list(range(9))),
    "bias of the deformable convolution dropped": _without_bias,
}


@pytest.mark.parametrize("change", PLUS_MISTAKES)
@torch.inference_mode()
def test_a_mistake_in_the_deformable_network_is_seen(plus: Recorded, change: str) -> None:
    network = copy.deepcopy(plus.network)
    PLUS_MISTAKES[change](network)
    assert again(plus, "1", run(network, plus.pixels("1")), network) == 0


# ------------------------------------------------------------------ behind the network


def _square(model: Recorded, case: str, patch: pytest.MonkeyPatch) -> int:
    network = copy.copy(model.network)
    network.design = dataclasses.replace(model.network.design, square_priors=True)
    return again(model, case, model.outputs(case), network)


def _ratio_first(model: Recorded, case: str, patch: pytest.MonkeyPatch) -> int:
    outputs = model.outputs(case)
    order = torch.arange(9).view(3, 3).T.flatten()
    mixed = make_rows(outputs.boxes, order)
    return again(model, case, dataclasses.replace(outputs, boxes=mixed))


def make_rows(values: Tensor, order: Tensor) -> Tensor:
    """Rows of the priors of every cell in another order: they meet the wrong prior."""
    return values.view(1, -1, 9, values.shape[2])[:, :, order].view(values.shape)


def _across_classes(model: Recorded, case: str, patch: pytest.MonkeyPatch) -> int:
    outputs = model.outputs(case)
    scores = outputs.logits[0].softmax(dim=1)[:, 1:]
    best, labels = scores.max(dim=1)
    rows = torch.nonzero(best > 0.05)[:, 0]
    rows = rows[best[rows].argsort(descending=True)][:200]
    boxes = priors.decode(outputs.boxes[0][rows], priors.make_priors(model.network.design)[rows])
    rows = rows[overlaps(boxes).triu_(1).amax(dim=0) <= 0.5][:100]
    boxes = priors.decode(outputs.boxes[0][rows], priors.make_priors(model.network.design)[rows])
    found = YolactDetections(boxes, best[rows], labels[rows], outputs.coefficients[0][rows])
    told = mask_ious(
        found, outputs.prototypes[0], windows_of(boxes.numpy(), GRID), model.network.maskiou_net
    )
    return found_again(model, case, found, best[rows].numpy() * told)


def _second_threshold(model: Recorded, case: str, patch: pytest.MonkeyPatch) -> int:
    found = detections(model.network, model.outputs(case), threshold=0.05)
    windows = windows_of(found.boxes.numpy(), GRID)
    told = mask_ious(found, model.outputs(case).prototypes[0], windows, model.network.maskiou_net)
    return found_again(model, case, found, found.scores.numpy() * told)


def _uncut(model: Recorded, case: str, patch: pytest.MonkeyPatch) -> int:
    everything = np.array([[0, 0, *GRID]])
    patch.setitem(globals(), "windows_of", lambda boxes, grid: everything.repeat(len(boxes), 0))
    return again(model, case, model.outputs(case))


def _rescored(
    change: Callable[[MaskIou, Tensor], Tensor],
) -> Callable[[Recorded, str, pytest.MonkeyPatch], int]:
    def mistaken(model: Recorded, case: str, patch: pytest.MonkeyPatch) -> int:
        net = model.network.maskiou_net
        return again(model, case, model.outputs(case), maskiou=lambda masks: change(net, masks))

    return mistaken


def _padded(net: MaskIou, masks: Tensor) -> Tensor:
    net = copy.deepcopy(net)
    for conv in net.maskiou_net[:-2]:
        if isinstance(conv, nn.Conv2d):
            conv.padding = (1, 1)
    return net(masks)


CHOICES = {
    "square priors (as in YOLACT)": _square,
    "priors in the order ratio, scale": _ratio_first,
    "cross-class fast NMS": _across_classes,
    "second score threshold 0.05": _second_threshold,
    "no rescoring": _rescored(lambda net, masks: masks.new_ones(len(masks), 80)),
    "maskiou_net on masks that are not cut to the box": _uncut,
    "maskiou_net on binary masks": _rescored(lambda net, masks: net((masks > 0.5).float())),
    "maskiou_net with padding 1": _rescored(_padded),
    "mean instead of max at the end of maskiou_net": _rescored(
        lambda net, masks: net.maskiou_net(masks).mean(dim=(2, 3))
    ),
    "no ReLU at the end of maskiou_net": _rescored(
        lambda net, masks: net.maskiou_net[:-1](masks).amax(dim=(2, 3))
    ),
    "maskiou of class + 1 (background counted)": _rescored(
        lambda net, masks: net(masks).roll(-1, 1)
    ),
}


@pytest.mark.parametrize("change", CHOICES)
@torch.inference_mode()
def test_a_mistake_behind_the_network_finds_as_few_as_recorded(
    plus: Recorded, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sum(CHOICES[change](plus, case, monkeypatch) for case in ("0", "1"))
    rows = {row["change"]: row["found again exactly"] for row in plus.read("mistakes.json")}
    assert abs(found - rows[change]) <= 2


def test_every_recorded_mistake_is_tried(plus: Recorded) -> None:
    rows = {row["change"] for row in plus.read("mistakes.json")}
    assert rows == {"nothing changed (control)", *PLUS_MISTAKES, *CHOICES}
