"""The shapes in a .pth file are torch's, and what is not tensors alone is left to torch."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.models import choose, model_labels
from pipeline.models.shared.shapes import pickled_shapes

HEAD = "roi_heads.box_predictor.cls_score.weight"


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def test_they_are_those_of_the_tensors_buffers_and_parameters_alike() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5), torch.nn.BatchNorm2d(8))
    value = {"model": network.state_dict(), "own": network[0].weight, "epoch": 3}
    shapes = pickled_shapes(saved(value))
    assert shapes == {
        "model": {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()},
        "own": (8, 3, 5, 5),
        "epoch": 3,
    }


class Ran:
    """Says so when somebody makes one of a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize(
    "data",
    [
        saved({"weight": torch.zeros(2), "more": Ran()}),
        saved({"weight": torch.zeros(1).expand(10**9)}),
        saved({"weight": torch.zeros(2)}, _use_new_zipfile_serialization=False),
        saved([torch.zeros(2)]),
        b"",
    ],
    ids=["a class", "more than there is", "old layout", "no mapping", "empty"],
)
def test_anything_else_is_left_to_torch(data: bytes) -> None:
    assert pickled_shapes(data) is None


def test_name_and_labels_of_a_pth_file_need_no_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.pth"
    path.write_bytes(saved({"module." + HEAD: torch.zeros(4, 16)}))
    monkeypatch.delattr("pipeline.models.mask_rcnn.weights.read_tensors")
    assert choose(None, str(path)) == ("maskrcnn_resnet18_fpn", str(path))
    labels = model_labels("maskrcnn_resnet18_fpn", str(path))
    assert labels == {1: "class_1", 2: "class_2", 3: "class_3"}
