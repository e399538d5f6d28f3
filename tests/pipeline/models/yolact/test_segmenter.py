"""YOLACT behind the contract: pictures in, instances out, and files that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maskstream.testing import check_segmenter
from pipeline.errors import ModelError
from pipeline.models import load_segmenter, model_labels
from pipeline.models.shared.devices import place
from pipeline.models.shared.whole_picture import PictureSegmenter
from pipeline.models.yolact.designs import DESIGNS
from pipeline.models.yolact.layout import name_in_file
from pipeline.models.yolact.network import Yolact
from pipeline.models.yolact.postprocess import windows_of
from pipeline.models.yolact.preprocess import SquareRule
from pipeline.models.yolact.segmenter import YolactFinder
from pipeline.stages import ModelInfo

PLUS = {"deformable_every": 1, "octaves": (1.0, 1.26, 1.59), "square_priors": False}
LABELS = {i: f"class_{i}" for i in range(1, 6)}


def segmenter_of(network: Yolact, precision: str = "fp32") -> PictureSegmenter:
    finder = YolactFinder(network, place("cpu", precision), np.array(sorted(LABELS)), 0.1)
    return PictureSegmenter(finder, ModelInfo("small", LABELS, ""))


def scene(size: tuple[int, int]) -> np.ndarray:
    generator = np.random.default_rng(5)
    picture = generator.integers(0, 255, (6, 6, 3), np.uint8)
    return np.ascontiguousarray(
        np.kron(picture, np.ones((40, 40, 1), np.uint8))[: size[0], : size[1]]
    )


@pytest.mark.parametrize(
    ("design", "precision"),
    [
        pytest.param({}, "bf16", id="yolact"),
        pytest.param(PLUS | {"rescored": True, "side": 256}, "fp32", id="plus"),
    ],
)
def test_it_keeps_what_a_segmenter_promises(
    small: Callable[..., Yolact], design: dict[str, object], precision: str
) -> None:
    network = small(**design)
    pictures = [scene((120, 200)), scene((240, 160))]
    found = segmenter_of(network, precision).segment(pictures)
    assert min(map(len, found)) > 0
    check_segmenter(lambda: segmenter_of(network, precision), pictures)


def test_a_picture_is_resized_as_by_torch_and_its_channels_turned_to_red_first() -> None:
    picture = scene((120, 200))
    for name in ("yolact_resnet50", "yolact_darknet53", "yolact_resnet101_700"):
        design = DESIGNS[name]
        rule = SquareRule.of(design)
        pixels = rule.prepare([picture], torch.float32, torch.device("cpu"))
        given = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
        resized = F.interpolate(given, (design.side, design.side), mode="bilinear").flip(1)
        mean, std = (torch.tensor(v)[:, None, None] for v in (design.mean, design.std))
        assert torch.allclose(pixels, (resized - mean) / std, atol=1e-5)
        rough = rule.prepare([picture], torch.bfloat16, torch.device("cpu"))
        assert (rough.float() - pixels).abs().max() < 0.03
        assert rule.padded((1080, 1920)) == (design.side, design.side)


def test_the_pixels_of_a_box_are_one_more_on_every_side_and_none_beyond_the_map() -> None:
    boxes = np.array([[0.25, 0.5, 0.5, 0.75], [-0.2, 0.0, 1.3, 1.0], [0.5, 0.5, 0.5, 0.5]])
    windows = windows_of(boxes.astype(np.float32), (8, 16))
    assert windows.tolist() == [[3, 3, 9, 7], [0, 0, 16, 8], [7, 3, 9, 5]]


# ------------------------------------------------------------------ files


def saved(
    path: Path, network: Yolact, change: Callable[[dict[str, Tensor]], object] = lambda state: None
) -> str:
    state = {name_in_file(key): value for key, value in network.state_dict().items()}
    change(state)
    torch.save(state, path)
    return str(path)


@pytest.fixture(scope="module")
def untrained() -> Mapping[str, Yolact]:
    """The real networks, small class heads; no weights that mean something."""
    with torch.device("meta"):
        shapes = Yolact(DESIGNS["yolact_resnet50"], 4)
    network = shapes.to_empty(device="cpu")
    for tensor in network.state_dict().values():
        tensor.zero_()
    return {"yolact_resnet50": network}


def test_another_number_of_classes_brings_its_labels(
    untrained: Mapping[str, Yolact], tmp_path: Path
) -> None:
    path = saved(tmp_path / "own.pth", untrained["yolact_resnet50"])
    assert model_labels("yolact_resnet50", path) == {1: "class_1", 2: "class_2", 3: "class_3"}
    (tmp_path / "own.pth.labels.json").write_text('["cat", "dog", "cow"]')
    segmenter = load_segmenter("yolact_resnet50", weights=path, device="cpu")
    assert segmenter.info.labels == {1: "cat", 2: "dog", 3: "cow"}
    assert segmenter.info.name == "yolact_resnet50"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(
            lambda state: state.pop("fpn.lat_layers.1.bias"),
            "do not fit yolact_resnet50: of 351 tensors, 1 missing (fpn.lat_layers.1.bias)",
            id="missing",
        ),
        pytest.param(
            lambda state: state.update({"own.weight": torch.zeros(1)}),
            "of 353 tensors, 1 left over (own.weight)",
            id="left-over",
        ),
        pytest.param(
            lambda state: state.update({"proto_net.10.bias": torch.zeros(16)}),
            "proto_net.10.bias has the shape (16,), which is not that of proto_net.10.bias, (32,)",
            id="shape",
        ),
        pytest.param(
            lambda state: state["proto_net.10.bias"].fill_(float("nan")),
            "proto_net.10.bias holds NaN or infinity",
            id="nan",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_the_name_of_a_tensor(
    untrained: Mapping[str, Yolact],
    tmp_path: Path,
    change: Callable[[dict[str, Tensor]], object],
    told: str,
) -> None:
    network = untrained["yolact_resnet50"]
    bias = network.proto_net[10].bias
    path = saved(tmp_path / "own.pth", network, change)
    bias.data.zero_()
    with pytest.raises(ModelError) as refused:
        load_segmenter("yolact_resnet50", weights=path, device="cpu")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_another_family_or_of_another_yolact_is_told_by_its_tensors(
    untrained: Mapping[str, Yolact], tmp_path: Path
) -> None:
    path = saved(tmp_path / "own.pth", untrained["yolact_resnet50"])
    with pytest.raises(ModelError, match="their tensors are those of yolact_resnet50"):
        load_segmenter("maskrcnn_resnet50_fpn", weights=path, device="cpu")
    for other in ("yolact_plus_resnet50", "yolact_resnet101_700", "yolact_darknet53"):
        with pytest.raises(ModelError, match=f"not of {other}: .* those of yolact_resnet50; use"):
            load_segmenter(other, weights=path, device="cpu")
