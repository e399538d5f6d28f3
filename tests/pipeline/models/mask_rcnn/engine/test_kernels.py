"""Which kernels run on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from triton import knobs

from pipeline.models.mask_rcnn.engine.operators import kernels
from pipeline.models.mask_rcnn.engine.operators.kernels import Kernels, kernels_for
from pipeline.models.mask_rcnn.engine.operators.nms import nms
from pipeline.models.mask_rcnn.engine.operators.preprocess import prepare
from pipeline.models.mask_rcnn.engine.operators.roi_align import roi_align

CPU = torch.device("cpu")


def test_a_kernel_that_answers_otherwise_or_fails_is_not_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def wrong(*args: Any) -> torch.Tensor:
        return ~nms(*args)

    def broken(*args: Any) -> torch.Tensor:
        raise RuntimeError("no such instruction\nmore")

    assert kernels._usable("nms", nms, kernels._nms_agrees, CPU)
    assert not kernels._usable("nms", wrong, kernels._nms_agrees, CPU)
    assert not kernels._usable("nms", broken, kernels._nms_agrees, CPU)
    assert caplog.messages == [
        "GPU kernel nms is not used on cpu: its answer differs from plain torch",
        "GPU kernel nms is not used on cpu: no such instruction",
    ]


def test_the_twins_agree_with_themselves_in_every_check() -> None:
    assert kernels._prepare_agrees(prepare, CPU)
    assert kernels._roi_align_agrees(roi_align, CPU)
    assert kernels_for(CPU) == Kernels()


def test_kernels_are_compiled_although_home_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "own"))
    with knobs.cache.scope():
        kernels._keep_compiled_where_one_may()
        assert knobs.cache.dir == str(tmp_path / "own")
        assert list((tmp_path / "own").iterdir()) == []

        (tmp_path / "file").touch()
        monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "file" / "triton"))
        kernels._keep_compiled_where_one_may()
        elsewhere = Path(knobs.cache.dir)
        assert elsewhere.is_dir()
        assert elsewhere.name.startswith("maskstream-triton-")
