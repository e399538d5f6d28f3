"""Published layouts of SOLOv2: each tensor has its place, and each fault is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from pipeline.errors import ModelError
from pipeline.models.shared.family import Shapes
from pipeline.models.shared.files import from_bytes
from pipeline.models.solov2 import importer
from pipeline.models.solov2.importer import import_solov2
from pipeline.models.solov2.layout import ADELAIDET, OPENMMLAB, SOLO, layout_of, recognise
from pipeline.models.solov2.network import SoloDesign, SoloV2
from tests.pipeline.models.golden import shapes_in

PUBLISHED = {
    "adet_solov2_r50_fpn/manifest": ("solov2_resnet50_fpn", ADELAIDET),
    "layouts/adet_solov2_r101_fpn": ("solov2_resnet101_fpn", ADELAIDET),
    "solo_solov2_r50_fpn/manifest": ("solov2_resnet50_fpn", SOLO),
    "layouts/solo_solov2_r101_fpn": ("solov2_resnet101_fpn", SOLO),
    "layouts/solo_solov2_light_448_r50_fpn": ("solov2_light_resnet50_fpn", SOLO),
    "layouts/mmdet_solov2_r50_fpn": ("solov2_resnet50_fpn", OPENMMLAB),
}


@pytest.mark.parametrize(("file", "expected"), PUBLISHED.items(), ids=PUBLISHED)
def test_every_tensor_of_a_published_file_has_its_place(
    file: str, expected: tuple[str, object], shared_data: Path
) -> None:
    shapes = shapes_in(shared_data, file)
    assert (recognise(shapes), layout_of(shapes)) == expected
    layout = layout_of(shapes)
    assert layout is not None
    with torch.device("meta"):
        network = SoloV2(importer._design(layout, shapes))
    own = {
        layout.called(key): tuple(tensor.shape)
        for key, tensor in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert own == {k: s for k, s in shapes.items() if not k.endswith("num_batches_tracked")}


def test_openmmlabs_names_stand_for_the_same_tensors_as_solos(shared_data: Path) -> None:
    """Shapes do not tell one tower's tensors from the other's."""
    path = shared_data / "golden" / "solo_solov2_r50_fpn" / "mmdet_names.json"
    if not path.is_file():
        pytest.skip(f"no list of names at {path}")
    names = json.loads(path.read_text())
    with torch.device("meta"):
        own = SoloV2(SoloDesign("resnet50", stride_in_1x1=False)).state_dict()
    theirs = {SOLO.called(key): OPENMMLAB.called(key) for key in own}
    assert {key: name for key, name in theirs.items() if key != name} == names


@pytest.mark.parametrize(
    "file",
    [
        "layouts/solo_solov2_r101_dcn_fpn",
        "layouts/solo_solov2_x101_dcn_fpn",
        "layouts/adet_condinst_r50_fpn_sem",
        "layouts/mmdet_condinst_r50_fpn",
        "layouts/d2_pointrend_r101_fpn",
        "layouts/mmdet_mask2former_r50_coco_instance",
    ],
)
def test_deformable_ones_and_other_families_are_not_recognised(
    file: str, shared_data: Path
) -> None:
    assert recognise(shapes_in(shared_data, file)) is None


def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A light network with a small body in AdelaiDet's layout, every weight 0.01."""
    design = SoloDesign("resnet50", stride_in_1x1=True, classes=3, depth=1, width=32, kernel=32)
    monkeypatch.setattr(importer, "_design", lambda layout, shapes: design)
    with torch.device("meta"):
        network = SoloV2(design)
    return {
        ADELAIDET.called(key): np.full(tuple(tensor.shape), 0.01, np.float16)
        for key, tensor in network.state_dict().items()
    }


def imported(state: dict[str, np.ndarray], name: str = "solov2_resnet50_fpn") -> SoloV2:
    return import_solov2(name, from_bytes(save(state), "mine.safetensors")).network


def test_weights_come_in_fp32_and_are_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    network = imported(small(monkeypatch) | {"pixel_mean": np.zeros(3, np.float32)})
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in network.parameters())
    assert not network.training
    assert float(network.kernel.bias[0]) == pytest.approx(0.01, abs=1e-5)


def test_each_fault_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    state = small(monkeypatch)
    missing = {k: v for k, v in state.items() if k != "ins_head.kernel_tower.1.bias"}
    with pytest.raises(ModelError, match=r"1 missing \(ins_head\.kernel_tower\.1\.bias\)$"):
        imported(missing)
    with pytest.raises(ModelError, match=r"1 left over \(ins_head\.cate_tower\.3\.weight\)$"):
        imported(state | {"ins_head.cate_tower.3.weight": np.zeros(3, np.float32)})
    wrong = {"mask_head.conv_pred.1.weight": np.zeros(7, np.float32)}
    with pytest.raises(ModelError, match=r"mask_head\.conv_pred\.1\.weight has the shape \(7,\)"):
        imported(state | wrong)
    broken = {"ins_head.cate_pred.bias": np.full(3, np.nan, np.float32)}
    with pytest.raises(ModelError, match=r"ins_head\.cate_pred\.bias holds NaN or infinity"):
        imported(state | broken)


def test_a_file_of_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError) as refused:
        imported({"fc.weight": np.zeros(3, np.float32)})
    assert str(refused.value) == (
        "weights mine.safetensors are not of solov2_resnet50_fpn: expected SOLOv2 as AdelaiDet, "
        "WXinlong/SOLO or OpenMMLab publish it, found 1 tensors of something else"
    )
    with pytest.raises(ModelError) as refused:
        imported(small(monkeypatch), "solov2_resnet101_fpn")
    assert str(refused.value) == (
        "weights mine.safetensors are not of solov2_resnet101_fpn; they look like "
        "solov2_resnet50_fpn"
    )
    deformable = small(monkeypatch) | {"ins_head.cate_tower.0.conv_offset.bias": np.zeros(27)}
    with pytest.raises(ModelError, match="a SOLOv2 that cannot be read: deformable, or with"):
        imported(deformable)


@pytest.mark.parametrize("shape", [(), (3,), (0, 512, 3, 3), (80, 511, 3, 3)])
def test_a_class_head_of_no_sense_is_named(shape: tuple[int, ...]) -> None:
    heads: Shapes = {
        "ins_head.cate_pred.weight": shape,
        "ins_head.kernel_pred.weight": (256, 512, 3, 3),
        "backbone.bottom_up.res2.0.conv1.weight": (64, 64, 1, 1),
        "backbone.bottom_up.res2.0.conv3.weight": (256, 64, 1, 1),
    }
    state = {key: np.zeros(of, np.float32) for key, of in heads.items()}
    with pytest.raises(ModelError, match=r"mine\.safetensors do not fit solov2_resnet50_fpn"):
        imported(state)
