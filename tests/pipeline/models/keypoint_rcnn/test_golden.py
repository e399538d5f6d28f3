"""Keypoint R-CNN against what detectron2 and torchvision compute with the same weights."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.models import choose, load_segmenter, model_labels
from pipeline.models.keypoint_rcnn.head import KeypointHead, keypoints
from pipeline.models.keypoint_rcnn.importer import load
from pipeline.models.mask_rcnn.engine.dense import Dense
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.results import Results
from pipeline.models.mask_rcnn.loading import Trained
from pipeline.models.shared.devices import place
from pipeline.models.shared.files import WeightsFile, from_bytes
from pipeline.models.shared.layers import conv_maker
from tests.pipeline.models.golden import Golden, batch_of, folder_of, regions_of
from tests.pipeline.models.mistakes import CONTROL, OF_DETECTRON2, Made

NAME = "keypointrcnn_resnet50_fpn"
CPU = torch.device("cpu")
MAKE = conv_maker(CPU, torch.float32)
CASE, PADDED = "1", (160, 224)


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> Golden:
    return folder_of(shared_data, "d2_keypoint_rcnn_r50_fpn")


@pytest.fixture(scope="module")
def file(golden: Golden) -> WeightsFile:
    return from_bytes(pickle.dumps({"model": golden.state(extras=True)}), "own.pkl")


@pytest.fixture(scope="module")
def trained(file: WeightsFile) -> Trained:
    return load(NAME, file)


@pytest.fixture(scope="module")
def of_torchvision(shared_data: Path) -> Golden:
    return folder_of(shared_data, "tv_keypoint_rcnn_r50_fpn_v1")


@pytest.fixture(scope="module")
def published(of_torchvision: Golden) -> WeightsFile:
    """A file as torchvision publishes it, with the names of then."""
    state = {name: torch.from_numpy(value) for name, value in of_torchvision.state().items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return from_bytes(buffer.getvalue(), "own.pth")


def points_off(golden: Golden, ours: np.ndarray, again: np.ndarray) -> float:
    """How far stable points of detections found again are from the recorded ones, in pixels."""
    mine, theirs = np.nonzero(again)
    stable = golden.array(CASE, "keypoint_stable")[theirs]
    off = np.abs(ours[mine][..., :2] - golden.array(CASE, "keypoints")[theirs][..., :2])
    return float(off[stable].max())


@pytest.fixture(scope="module")
def made(golden: Golden, trained: Trained) -> Made:
    return Made(golden, trained.network, trained.dialect)


@pytest.fixture(scope="module")
def dense(made: Made) -> Dense:
    return made.dense


@pytest.mark.parametrize("change", OF_DETECTRON2)
def test_each_mistake_is_seen(made: Made, change: str) -> None:
    assert OF_DETECTRON2[change](made) is (change != CONTROL)


def test_heat_maps(golden: Golden, trained: Trained, dense: Dense) -> None:
    regions = regions_of(dense, PADDED, torch.from_numpy(golden.array(CASE, "net_boxes")[:4]))
    pooled = regions.pool(14)
    assert golden.error(CASE, "keypoint_pooled", pooled.permute(0, 3, 1, 2)[:, ::16]) <= 1
    head = KeypointHead(trained.network, MAKE, CPU, torch.float32)
    with torch.inference_mode():
        maps = head(pooled[:3])
    assert golden.error(CASE, "keypoint_logits", maps[:, ::4]) <= 1


def test_end_to_end(golden: Golden, trained: Trained) -> None:
    engine = Engine(
        trained.network, place("cpu", "fp32"), score_threshold=0.05,
        dialect=trained.dialect, last_head=trained.last_head,
    )  # fmt: skip
    results = engine.forward(batch_of(golden, CASE, trained.network))
    found = KeypointHead.found(
        results.boxes.numpy(), results.scores.numpy(), results.classes.numpy(),
        [results.logits.numpy(), *(tensor.numpy() for tensor in results.more)],
        golden.output_size(CASE), paste=trained.dialect.paste,
    )  # fmt: skip
    instances = found.instances()
    again = golden.found_again(CASE, instances.boxes, instances.scores, instances.class_ids - 1)
    assert instances.keypoints is not None
    assert again.any(axis=0).sum() == len(golden.array(CASE, "boxes"))
    assert points_off(golden, instances.keypoints, again) < 0.05
    mine, theirs = np.nonzero(again)
    recorded = golden.array(CASE, "keypoints")[theirs][..., 2]
    assert np.abs(instances.keypoints[mine][..., 2] - recorded).max() < 1e-4
    assert np.array_equal(instances.masks.areas() > 0, np.ones(len(instances), bool))


def test_torchvisions_published_file(of_torchvision: Golden, published: WeightsFile) -> None:
    """Its norms have eps 0, which no file says, and its score of a point is the logit."""
    trained = load(NAME, published)
    trained.network.transform.min_size, trained.network.transform.max_size = (200,), 320
    engine = Engine(
        trained.network, place("cpu", "fp32"), score_threshold=0.05,
        dialect=trained.dialect, last_head=trained.last_head,
    )  # fmt: skip
    kept: list[Results] = []
    forward = engine._forward

    def keeping(*args: object, **more: object) -> object:
        results = yield from forward(*args, **more)  # type: ignore[arg-type]
        kept.append(results)
        return results

    engine._forward = keeping  # type: ignore[method-assign, assignment]
    (found,) = engine.run([of_torchvision.picture(CASE)])
    golden = of_torchvision
    again = golden.found_again(CASE, found.boxes, found.scores, found.classes)
    assert again.any(axis=0).sum() == len(golden.array(CASE, "boxes"))
    assert found.keypoints is not None
    assert points_off(golden, found.keypoints, again) < 0.05
    mine, theirs = np.nonzero(again)
    _, logits = keypoints(kept[0].logits.numpy(), kept[0].more[0].numpy())
    assert np.abs(logits[mine] - golden.array(CASE, "keypoint_scores")[theirs]).max() < 1e-2


def test_another_eps_is_seen(of_torchvision: Golden, published: WeightsFile) -> None:
    from dataclasses import replace

    golden, picture = of_torchvision, of_torchvision.picture(CASE)
    errors = {}
    for eps in ("0", "1e-5"):
        trained = load(NAME, replace(published, settings={"norm_eps": eps}))
        transform = trained.network.transform
        transform.min_size, transform.max_size = (200,), 320
        rgb = torch.from_numpy(picture[:, :, ::-1].copy()).permute(2, 0, 1) / 255
        with torch.inference_mode():
            images, _ = transform([rgb])
            body = trained.network.backbone.body
            x = body.maxpool(body.relu(body.bn1(body.conv1(images.tensors))))
            errors[eps] = golden.error(CASE, "c2", body.layer1(x)[0])
    assert errors["0"] <= 1
    assert errors["1e-5"] > 10


def test_the_point_is_the_peak_of_the_resized_map() -> None:
    """Half a pixel behind the corner of the largest one, in a box of any size."""
    maps = np.zeros((1, 2, 56, 56), np.float32)
    maps[0, 0, 10, 20] = maps[0, 1, 55, 0] = 8
    points, logits = keypoints(maps, np.array([[100, 50, 156, 106]], np.float32))
    assert points[0, :, :2].tolist() == [[120.5, 60.5], [100.5, 105.5]]
    assert logits[0].tolist() == [8, 8]
    assert points[0, 0, 2] == pytest.approx(np.exp(8) / (np.exp(8) + 56 * 56 - 1), rel=1e-5)
    (thin, _) = keypoints(maps, np.array([[100, 50, 100.25, 50.25]], np.float32))
    assert thin[0, :, :2].tolist() == [[100.5, 50.5]] * 2  # at least one pixel


def test_large_boxes_are_resized_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = np.random.default_rng(0).standard_normal((2, 17, 56, 56)).astype(np.float32)
    boxes = np.array([[0, 0, 90.5, 130], [5, 7, 40, 60.2]], np.float32)
    whole = keypoints(maps, boxes)
    monkeypatch.setattr("pipeline.models.keypoint_rcnn.head._PIXELS_AT_A_TIME", 5000)
    for ours, theirs in zip(keypoints(maps, boxes), whole, strict=True):
        assert np.array_equal(ours, theirs)


def test_the_file_says_what_it_is(
    file: WeightsFile, published: WeightsFile, tmp_path: Path
) -> None:
    for one in (file, published):
        path = tmp_path / one.origin
        path.write_bytes(one.data)
        assert choose(None, str(path))[0] == NAME
        assert model_labels(NAME, one) == {1: "person"}
        with pytest.raises(ModelError, match=f"are those of {NAME}; use --model {NAME}"):
            load_segmenter("maskrcnn_resnet50_fpn", weights=one, device="cpu")


def test_a_tensor_too_many_is_named(golden: Golden) -> None:
    state = golden.state() | {"roi_heads.keypoint_head.conv_fcn9.bias": np.zeros(512, np.float32)}
    own = from_bytes(pickle.dumps({"model": state}), "own.pkl")
    with pytest.raises(ModelError, match=r"1 left over \(roi_heads.keypoint_head.conv_fcn9.bias\)"):
        load(NAME, own)


@pytest.mark.slow
def test_it_segments(golden: Golden, file: WeightsFile) -> None:
    segmenter = load_segmenter(
        NAME, weights=file, device="cpu", precision="fp32", score_threshold=0.9
    )
    segmenter._runner.input_rules = type(segmenter._runner.input_rules)(  # type: ignore[attr-defined]
        120,
        320,
        segmenter._runner.input_rules.mean,
        segmenter._runner.input_rules.std,  # type: ignore[attr-defined]
    )
    (found,) = segmenter.segment([golden.picture(CASE)])
    assert segmenter.info.labels == {1: "person"}
    assert found.keypoints is not None
    assert found.keypoints.shape == (len(found), 17, 3)
