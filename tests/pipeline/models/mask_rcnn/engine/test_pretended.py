"""Every stage on CUDA tensors without a GPU: nothing on the host, no stop, and what it needs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models.detection import MaskRCNN

from benchmarks.gpu_steps.pretend import BUCKETS, HostInStage, pretend
from pipeline.models.mask_rcnn.bench import network_for
from pipeline.models.mask_rcnn.engine import box_head, detections, mask_head, proposals
from pipeline.models.mask_rcnn.engine import engine as engines
from pipeline.models.mask_rcnn.engine.operators import (
    preprocess_triton,
    roi_align_triton,
    runs_triton,
)
from pipeline.models.shared.layers import fold


@pytest.fixture(scope="module")
def network() -> MaskRCNN:
    return network_for("maskrcnn_resnet50_fpn")


@pytest.mark.parametrize(
    ("bucket", "precision", "gflop"),
    [(BUCKETS[0], "fp16", 535), (BUCKETS[1], "fp16", 247), (BUCKETS[1], "fp32", 247)],
)
def test_every_stage_stays_on_the_device_and_needs_memory_by_the_picture(
    network: MaskRCNN, bucket: tuple[int, int], precision: str, gflop: int
) -> None:
    """All batches and formats: `python -m benchmarks.gpu_steps.pretend`."""
    needs = {batch: pretend(network, bucket, batch, precision) for batch in (1, 8, 32)}

    assert [round(need.gflop) for need in needs.values()] == [gflop] * 3
    assert needs[32].peak_bytes == pytest.approx(4 * needs[8].peak_bytes, rel=0.04)


def test_the_largest_pass_in_float32_too(network: MaskRCNN) -> None:
    assert pretend(network, BUCKETS[0], 32, "fp32").peak_bytes < 1.1 * 32 * 320e6


def wrapped(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, change: Any) -> None:
    real = getattr(place, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        return change(real(*args, **kwargs))

    monkeypatch.setattr(place, name, call)


def with_host_tensor(boxes: torch.Tensor) -> torch.Tensor:
    return boxes + torch.zeros(4)


def with_item(found: Any) -> Any:
    (found.boxes if hasattr(found, "boxes") else found).sum().item()
    return found


def with_mask_as_index(found: Any) -> Any:
    _ = found.boxes[found.valid]
    return found


@pytest.mark.parametrize(
    ("place", "name", "change", "said"),
    [
        pytest.param(proposals, "decode", with_host_tensor, "body, pyramid, proposal head",
                     id="host-tensor-in-proposals"),
        pytest.param(detections, "decode", with_host_tensor, "box head",
                     id="host-tensor-in-detections"),
        pytest.param(engines, "propose", with_item, "body, pyramid, proposal head",
                     id="item-in-proposals"),
        pytest.param(engines, "propose", with_mask_as_index, "body, pyramid, proposal head",
                     id="mask-as-index"),
        pytest.param(engines, "detect", with_item, "box head", id="item-in-detections"),
        pytest.param(box_head.BoxHead, "__call__", lambda out: (out[0].cpu().cuda(), out[1]),
                     "RoIAlign of proposals", id="round-trip-in-box-head"),
        pytest.param(mask_head.MaskHead, "__call__", with_item, "masks", id="item-in-masks"),
        pytest.param(preprocess_triton, "prepare", lambda out: (out.pixels.sum().item(), out)[1],
                     "stage preprocess", id="item-in-preprocess"),
        pytest.param(runs_triton, "paste", lambda out: (out[1].sum().item(), out)[1],
                     "stage results to the host", id="item-in-paste"),
        pytest.param(roi_align_triton, "_roi_align", None, "kernel _roi_align: first is on cpu",
                     id="host-tensor-to-a-kernel"),
    ],
)  # fmt: skip
def test_what_would_stop_the_stream_is_named_with_its_stage(
    network: MaskRCNN, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, change: Any,
    said: str,
) -> None:  # fmt: skip
    if change is None:
        real = engines.make_layout
        monkeypatch.setattr(
            engines,
            "make_layout",
            lambda shapes, batch, _, **more: real(shapes, batch, "cpu", **more),
        )
    else:
        wrapped(monkeypatch, place, name, change)

    with pytest.raises(HostInStage, match=said):
        pretend(network, (480, 640), 2)


def test_a_network_that_is_on_the_device_already_is_folded_there() -> None:
    with FakeTensorMode():
        conv = torch.nn.Conv2d(3, 4, 1, bias=False, device="cuda:0")
        norm = torch.nn.BatchNorm2d(4, device="cuda:0")
        weights = fold(conv, norm)

    assert {weights.weight.device.type, weights.bias.device.type} == {"cuda"}
