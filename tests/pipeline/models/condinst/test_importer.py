"""Published layouts of CondInst: each tensor has its place, and each fault is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from pipeline.errors import ModelError
from pipeline.models.condinst.importer import import_condinst
from pipeline.models.condinst.layout import ADELAIDET, OPENMMLAB, layout_of, recognise
from pipeline.models.condinst.network import CondInst
from pipeline.models.condinst.postprocess import ADELAIDET_SELECTION, OPENMMLAB_SELECTION
from pipeline.models.shared.files import from_bytes
from pipeline.models.shared.input_rule import ADELAIDET_RULE, OPENMMLAB_RULE
from tests.pipeline.models.golden import shapes_in

PUBLISHED = {
    "adet_condinst_r50_fpn/manifest": ("condinst_resnet50_fpn", ADELAIDET),
    "layouts/adet_condinst_r101_fpn": ("condinst_resnet101_fpn", ADELAIDET),
    "layouts/adet_condinst_r50_fpn_sem": ("condinst_resnet50_fpn", ADELAIDET),
    "layouts/mmdet_condinst_r50_fpn": ("condinst_resnet50_fpn", OPENMMLAB),
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
        network = CondInst(layout.body_of(shapes) or "", stride_in_1x1=True)
    own = {layout.called(key): tuple(v.shape) for key, v in network.state_dict().items()}
    wanted = {
        key: () if "scales" in key else shape
        for key, shape in shapes.items()
        if not (key.endswith("num_batches_tracked") or layout.is_extra(key))
    }
    assert own == wanted
    of_training = [key for key in shapes if key.startswith("mask_branch.") and layout.is_extra(key)]
    assert len(of_training) == (14 if file.endswith("_sem") else 0)


@pytest.mark.parametrize(
    "file", ["layouts/adet_solov2_r101_fpn", "layouts/mmdet_solov2_r50_fpn", "layouts/yolact_r101"]
)
def test_other_families_are_not_recognised(file: str, shared_data: Path) -> None:
    assert recognise(shapes_in(shared_data, file)) is None


def test_openmmlabs_file_gives_the_same_network_with_rules_of_its_own(
    golden: Callable[[str], Any],
) -> None:
    recorded = golden("adet_condinst_r50_fpn")
    ours = import_condinst("condinst_resnet50_fpn", recorded.file())
    names = recorded.read("mmdet_names.json")
    state = {names[key]: value for key, value in recorded.state.items() if key in names}
    theirs = import_condinst("condinst_resnet50_fpn", from_bytes(save(state), "mmdet"))
    assert (ours.input_rule, ours.selection) == (ADELAIDET_RULE, ADELAIDET_SELECTION)
    assert (theirs.input_rule, theirs.selection) == (OPENMMLAB_RULE, OPENMMLAB_SELECTION)
    for key, tensor in ours.network.state_dict().items():
        assert torch.equal(tensor, theirs.network.state_dict()[key]), key
    for network, strides in ((ours.network, (2, 1)), (theirs.network, (1, 2))):
        block = network.backbone.body.layer2[0]
        assert (block.conv1.stride[0], block.conv2.stride[0]) == strides


def imported(state: dict[str, np.ndarray], name: str = "condinst_resnet50_fpn") -> CondInst:
    return import_condinst(name, from_bytes(save(state), "mine.safetensors")).network


def test_each_fault_is_named() -> None:
    with torch.device("meta"):
        network = CondInst("resnet50", stride_in_1x1=True, classes=2)
    state = {
        ADELAIDET.called(key): np.zeros(tuple(tensor.shape), np.float16)
        for key, tensor in network.state_dict().items()
    }
    state["mask_branch.seg_head.0.0.weight"] = np.zeros(3, np.float16)  # of training
    assert imported(state).classes.out_channels == 2
    missing = {k: v for k, v in state.items() if k != "backbone.top_block.p7.bias"}
    with pytest.raises(ModelError, match=r"1 missing \(backbone\.top_block\.p7\.bias\)$"):
        imported(missing)
    with pytest.raises(ModelError, match=r"1 left over \(mask_branch\.tower\.5\.weight\)$"):
        imported(state | {"mask_branch.tower.5.weight": np.zeros(3, np.float16)})
    with pytest.raises(ModelError, match=r"controller\.bias has the shape \(168,\)"):
        imported(state | {"controller.bias": np.zeros(168, np.float16)})
    with pytest.raises(ModelError, match=r"look like condinst_resnet50_fpn$"):
        imported(state, "condinst_resnet101_fpn")
    with pytest.raises(ModelError, match="expected CondInst as AdelaiDet or OpenMMLab publish it"):
        imported({"controller.weight": state["controller.weight"]})
