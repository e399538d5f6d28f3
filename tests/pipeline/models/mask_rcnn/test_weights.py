import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safetensors
from torchvision.models.detection import MaskRCNN
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.errors import ConfigError, ModelError
from pipeline.models import choose, fetch_weights, model_labels
from pipeline.models.mask_rcnn.networks import build_network
from pipeline.models.mask_rcnn.weights import load_network, norm_eps
from pipeline.models.shared.files import WeightsFile, read_weights
from pipeline.models.shared.labels import COCO_LABELS

SMALL = "maskrcnn_resnet18_fpn"


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build_network(SMALL, num_classes=4).state_dict()


def write_pth(path: Path, value: object) -> str:
    torch.save(value, path)
    return str(path)


def load(path: str, name: str = SMALL) -> MaskRCNN:
    return load_network(name, read_weights(path))


def refused(path: str, message: str, name: str = SMALL) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(path, name)
    assert "\n" not in str(caught.value)


def test_a_safetensors_file_in_half_precision_loads_with_its_metadata(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "own.safetensors"
    metadata = {
        "model": SMALL,
        "labels": json.dumps({"1": "car", "2": "van", "3": "bus"}),
        "min_size": "256",
        "max_size": "448",
    }
    halves = {key: tensor.half() for key, tensor in tensors.items()}
    path.write_bytes(save_safetensors(halves, metadata))

    network = load(str(path))

    assert network.transform.min_size == (256,)
    assert network.transform.max_size == 448
    weight = network.backbone.body.conv1.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, tensors["backbone.body.conv1.weight"].half().float())
    assert model_labels(SMALL, str(path)) == {1: "car", 2: "van", 3: "bus"}
    assert choose(None, str(path)) == (SMALL, str(path))


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_a_pth_file_loads_plain_or_wrapped(
    tmp_path: Path, tensors: dict[str, torch.Tensor], wrapper: str | None
) -> None:
    path = write_pth(tmp_path / "own.pth", {wrapper: tensors} if wrapper else tensors)

    loaded = load(path).state_dict()

    key = "roi_heads.mask_predictor.conv5_mask.weight"
    assert torch.equal(loaded[key], tensors[key])
    assert choose(None, path) == (SMALL, path)
    assert model_labels(SMALL, path) == {1: "class_1", 2: "class_2", 3: "class_3"}


def test_labels_beside_the_file_are_found(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    path = write_pth(tmp_path / "own.pth", tensors)
    (tmp_path / "own.pth.labels.json").write_text('["car", "van", "bus"]')

    assert model_labels(SMALL, path) == {1: "car", 2: "van", 3: "bus"}


def test_a_wrong_number_of_labels_is_refused_with_both_numbers(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(save_safetensors(tensors, {"labels": '["car", "van"]'}))

    with pytest.raises(ModelError, match=r"2 labels for ids 1\.\.2, but the class head has 3"):
        model_labels(SMALL, str(path))


def test_a_missing_file_is_said_to_be_missing() -> None:
    refused("nowhere/w.pth", "weights nowhere/w.pth: no such file; check the path")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_text_is_no_weights_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("hello, this is no checkpoint\n")
    refused(str(tmp_path / name), "no weights file; expected a .safetensors file, a .pth")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"")
    refused(str(tmp_path / "w.pth"), "the file is empty")


@pytest.mark.parametrize("share", [0.999, 0.5, 0.0001])
def test_truncated_files_are_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], share: float
) -> None:
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    for name, data in (("w.pth", buffer.getvalue()), ("w.safetensors", save_safetensors(tensors))):
        (tmp_path / name).write_bytes(data[: int(share * len(data))])
        refused(str(tmp_path / name), "cut off|broken")


def sparse(path: Path, head: bytes, size: int = 10_000_000_000) -> Path:
    """A file that claims to be huge and takes no room."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


def header_of(values: object, length: int | None = None) -> bytes:
    text = values if isinstance(values, bytes) else json.dumps(values).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("head", "size", "message"),
    [
        pytest.param(b"\0" * 16, 10**10, "no weights file; expected a .safetensors", id="zeros"),
        pytest.param(b"{" * 16, 19 * 10**8, "header is cut off; fetch it again", id="braces"),
        pytest.param(b"PK\3\4", 10**10, "10,000,000,000 bytes, more than 2,000,0", id="zip"),
        pytest.param(b"\x80\2", 10**10, "10,000,000,000 bytes, more than 2,000,0", id="pickle"),
        pytest.param(b"PK\3\4", 19 * 10**8, "the file is cut off or damaged", id="zip-no-end"),
        pytest.param(
            header_of({"a": TENSOR}),
            19 * 10**8,
            r"its tensors take 1,899,999,93\d bytes, its header says 4; fetch it again",
            id="safetensors",
        ),
        pytest.param(
            header_of(b"{", length=99_999_999),
            19 * 10**8,
            "the safetensors header is cut off",
            id="long-header",
        ),
        pytest.param(header_of(b"{", length=2**63), 19 * 10**8, "is cut off", id="endless-header"),
    ],
)
def test_a_huge_file_is_refused_from_its_first_bytes(
    tmp_path: Path, head: bytes, size: int, message: str
) -> None:
    path = sparse(tmp_path / "w", head, size)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=message) as caught:
            read_weights(str(path))
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        pytest.param({"__metadata__": ["a"]}, "metadata must be texts by name", id="list"),
        pytest.param({"__metadata__": "a"}, "metadata must be texts by name", id="text"),
        pytest.param({"__metadata__": {"a": 1}}, "metadata must be texts by name", id="number"),
        pytest.param({"__metadata__": {"a": None}}, "metadata must be texts by name", id="null"),
        pytest.param(
            b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "the safetensors header is no JSON",
            id="nested",
        ),
        pytest.param(b'{"a": ' + b"9" * 5_000 + b"}", "header is no JSON", id="5000-digits"),
        pytest.param(b"{\xff}", "header is no JSON", id="no-utf-8"),
        pytest.param(
            {"__metadata__": {"labels": "[" * 100_000}}, "cannot be read as labels", id="labels"
        ),
        pytest.param({"a": {"data_offsets": 5}}, "broken safetensors file", id="no-offsets"),
        pytest.param({"a": 5}, "broken safetensors file", id="no-tensor"),
    ],
)
def test_a_header_that_is_none_is_one_line(tmp_path: Path, header: object, message: str) -> None:
    (tmp_path / "w.safetensors").write_bytes(header_of(header))
    refused(str(tmp_path / "w.safetensors"), message)


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        ({"shape": [10**12]}, "a class head of 1000000000000 rows in "),
        ({"shape": [1]}, "a class head of 1 rows in "),
        ({"shape": [-4]}, "a class head of -4 rows in "),
        ({"shape": []}, r"must have a row a class, got \[\]"),
        ({"shape": ["4"]}, "must have a row a class"),
        ({"shape": 4}, "must have a row a class, got 4"),
        ({}, "must have a row a class, got None"),
        (5, "must have a row a class, got None"),
    ],
)
def test_a_class_head_that_cannot_be_is_refused_before_it_is_counted(
    tmp_path: Path, bias: object, message: str
) -> None:
    path = tmp_path / "own.safetensors"
    header = json.dumps({"roi_heads.box_predictor.cls_score.bias": bias}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelError, match=message) as caught:
        model_labels(SMALL, str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "bounds"),
    [
        *(
            pytest.param("norm_eps", text, "from 0 to 1", id=f"eps-{text}")
            for text in ("nan", "-1e-5", "inf", "abc", "", "2")
        ),
        *(
            pytest.param(key, text, "from 32 to 8192", id=f"{key}-{text}")
            for key in ("min_size", "max_size")
            for text in ("-1", "0", "nan", "1e9", "100000", "wide", "inf")
        ),
    ],
)
def test_a_number_in_the_metadata_has_bounds(
    tmp_path: Path, tensors: dict[str, torch.Tensor], key: str, value: str, bounds: str
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(save_safetensors(tensors, {key: value}))
    refused(str(path), rf"metadata {key}: must be a number {bounds}, got '{value}'$")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_a_pipe_or_device_is_no_weights_file_and_no_labels(
    tmp_path: Path, tensors: dict[str, torch.Tensor], make: Callable[[Path], None]
) -> None:
    make(tmp_path / "w")
    refused(str(tmp_path / "w"), "cannot read it: not a regular file")
    path = write_pth(tmp_path / "own.pth", tensors)
    make(tmp_path / "own.pth.labels.json")
    refused(path, r"cannot read own.pth.labels.json: not a regular file")


def test_a_packed_archive_is_refused_before_it_grows(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("w/data.pkl", b"\0" * 50_000_000)
    assert (tmp_path / "w.pth").stat().st_size < 100_000
    refused(str(tmp_path / "w.pth"), "it is a packed archive, which torch.save does not write; exp")


def test_weights_of_another_network_are_refused_by_name_and_shape(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    path = write_pth(tmp_path / "w.pth", tensors)
    refused(path, "do not fit maskrcnn_resnet50_fpn: .*; they look like", "maskrcnn_resnet50_fpn")

    wider = dict(tensors)
    wider["backbone.body.conv1.weight"] = torch.zeros(64, 4, 7, 7)
    refused(
        write_pth(tmp_path / "w.pth", wider),
        r"1 of wrong shape \(backbone.body.conv1.weight: expected \(64, 3, 7, 7\), got \(64, 4",
    )


def test_names_and_shapes_are_compared_before_memory_is_taken(
    tmp_path: Path, tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "frombuffer", None)
    expanded = torch.zeros(1).expand(10**6, 10**6)
    weights = tensors | {"backbone.body.conv1.weight": expanded}
    refused(write_pth(tmp_path / "w.pth", weights), "has 1,000,000,000,000 elements of float32, bu")
    refused(write_pth(tmp_path / "w.pth", tensors | {"more": torch.zeros(9)}), r"1 unknown \(first")
    wide = tensors | {"backbone.body.conv1.weight": torch.zeros(64, 3, 7, 9)}
    refused(write_pth(tmp_path / "w.pth", wide), "1 of wrong shape")


def test_numbers_that_are_whole_are_no_weights(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    key = "backbone.body.conv1.weight"
    whole = tensors | {key: tensors[key].to(torch.int64)}
    refused(write_pth(tmp_path / "w.pth", whole), f"{key} is no floating point, got torch.int64")


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (open, (str(self.witness), "w"))

    witness: Path


def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    Malicious.witness = tmp_path / "witness"
    for data in (
        lambda f: torch.save({"model": Malicious()}, f),
        lambda f: pickle.dump(Malicious(), f),
    ):
        with (tmp_path / "w.pth").open("wb") as stream:
            data(stream)
        refused(str(tmp_path / "w.pth"), "more than tensors; refused, nothing in it was executed")
    assert not Malicious.witness.exists()


def test_a_parameter_that_is_not_finite_is_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    broken = {key: tensor.clone() for key, tensor in tensors.items()}
    broken["roi_heads.box_head.fc6.weight"][3, 5] = float("nan")
    refused(write_pth(tmp_path / "w.pth", broken), "roi_heads.box_head.fc6.weight holds NaN")


@pytest.mark.parametrize(
    ("name", "counted", "settings", "eps"),
    [
        pytest.param("maskrcnn_resnet50_fpn", False, {}, 0.0, id="published-layout"),
        pytest.param("maskrcnn_resnet50_fpn", True, {}, 1e-5, id="trained-batch-norm"),
        pytest.param("maskrcnn_resnet101_fpn", False, {}, 1e-5, id="other-body"),
        pytest.param("maskrcnn_resnet50_fpn", False, {"norm_eps": "1e-5"}, 1e-5, id="said-so"),
    ],
)
def test_only_frozen_v1_weights_get_eps_zero(
    name: str, counted: bool, settings: dict[str, str], eps: float
) -> None:
    names = {"backbone.body.bn1.num_batches_tracked": torch.zeros(())} if counted else {}
    file = WeightsFile("own.pth", b"x", "", settings)

    assert norm_eps(name, names, file) == eps


def test_the_loaded_norms_have_that_eps(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    network = load(write_pth(tmp_path / "w.pth", tensors))

    assert isinstance(network.backbone.body.bn1, FrozenBatchNorm2d)
    assert network.backbone.body.bn1.eps == 1e-5


def test_offline_the_published_weights_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", no_network)

    with pytest.raises(ModelError, match=r"cannot fetch https://\S+\.pth: no route to host; con"):
        fetch_weights("maskrcnn_resnet50_fpn", "COCO_V1")


def test_a_damaged_published_file_in_the_cache_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth").write_bytes(b"PK half of it")

    with pytest.raises(ModelError, match=r"is damaged \(sha256 \w+\.\.\., expected bf2d0c1e"):
        fetch_weights("maskrcnn_resnet50_fpn", "COCO_V1")


def test_labels_of_published_weights_are_cocos_own_ids() -> None:
    labels = model_labels("maskrcnn_resnet50_fpn_v2", "COCO_V1")

    assert labels == COCO_LABELS
    assert (labels[1], labels[90], len(labels), 12 in labels) == ("person", "toothbrush", 80, False)


def test_what_is_left_open_is_filled_in_the_same_way_on_every_machine() -> None:
    assert choose() == ("maskrcnn_resnet50_fpn_v2", "COCO_V1")
    assert choose(None, "demo") == (SMALL, "demo")
    assert choose("blob") == ("blob", None)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("maskrcnn", None, "model 'maskrcnn' is not known; known are maskrcnn_resnet50_fpn, "),
        ("maskrcnn_resnet101_fpn", None, "has no published weights; give a .safetensors, .pth or "),
        (SMALL, "COCO_V1", "weights COCO_V1 are not for maskrcnn_resnet18_fpn; they are for mask"),
        ("blob", "demo", "model blob has no weights, got 'demo'"),
    ],
)
def test_combinations_that_cannot_work_are_refused(
    name: str, weights: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(name, weights)


def test_the_bundled_weights_load_without_a_path() -> None:
    file = fetch_weights(SMALL, "demo")
    assert file is not None
    assert len(file.data) <= 30_000_000
    assert file.model == SMALL
    network = load_network(SMALL, file)
    assert (
        len(model_labels(SMALL, "demo"))
        == network.roi_heads.box_predictor.cls_score.out_features - 1
    )
    assert np.isfinite(float(network.backbone.body.conv1.weight.sum()))
