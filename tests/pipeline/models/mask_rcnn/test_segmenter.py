"""The segmenter around the engine: mixed sizes, bad pictures, failures, and its contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safetensors
from torchvision.models.detection import MaskRCNN

from benchmarks.gpu_steps.rig import Rig
from benchmarks.gpu_steps.standins import CpuCuda, twin_kernels
from pipeline.errors import ConfigError, ModelError, SegmentFailed
from pipeline.instances import Instances
from pipeline.models import fetch_weights, load_segmenter
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.found import Found
from pipeline.models.mask_rcnn.segmenter import MaskRcnnSegmenter
from pipeline.models.shared.devices import cpu_bf16, place
from pipeline.stages import ModelInfo

NAME = "maskrcnn_resnet18_fpn"
LABELS = '["a", "b", "c", "d", "e", "f", "g", "h"]'
THRESHOLD = 0.9
"""Random weights find a hundred things in a picture above half of it: most of the time is masks."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, small_network: MaskRCNN) -> str:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    metadata = {"model": NAME, "labels": LABELS, "min_size": "96", "max_size": "160"}
    path.write_bytes(save_safetensors(small_network.state_dict(), metadata))
    return str(path)


@pytest.fixture(scope="module")
def segmenter(weights: str) -> MaskRcnnSegmenter:
    return opened(weights)


def opened(weights: str, precision: str = "fp32") -> MaskRcnnSegmenter:
    loaded = load_segmenter(
        NAME, weights=weights, device="cpu", precision=precision, score_threshold=THRESHOLD
    )
    assert isinstance(loaded, MaskRcnnSegmenter)
    return loaded


def same(a: Instances, b: Instances) -> bool:
    return (
        np.array_equal(a.boxes, b.boxes)
        and np.array_equal(a.scores, b.scores)
        and np.array_equal(a.class_ids, b.class_ids)
        and np.array_equal(a.masks.counts, b.masks.counts)
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_who_shares_the_batch_changes_nothing(
    precision: str, weights: str, streets: list[np.ndarray]
) -> None:
    segmenter = opened(weights, precision)
    images = [streets[0], streets[5][:200, :160], streets[9], streets[14], streets[20][:160, :200]]
    alone = [segmenter.segment([image])[0] for image in images]

    together = segmenter.segment(images)
    backwards = segmenter.segment(images[::-1])[::-1]

    assert all(len(found) > 5 for found in alone)
    assert all(map(same, alone, together))
    assert all(map(same, alone, backwards))


def test_instances_keep_the_contract(
    segmenter: MaskRcnnSegmenter, streets: list[np.ndarray]
) -> None:
    (found,) = segmenter.segment([streets[2]])
    x1, y1, x2, y2 = found.boxes.T

    assert (found.scores[:-1] >= found.scores[1:]).all()
    assert found.scores.min() > THRESHOLD
    assert (x1 >= 0).all()
    assert (y1 >= 0).all()
    assert (x1 < x2).all()
    assert (y1 < y2).all()
    assert x2.max() <= 640
    assert y2.max() <= 360
    assert (found.masks.areas() > 0).all()
    assert found.masks.size == (360, 640)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.class_ids.dtype == np.int64
    assert set(found.class_ids.tolist()) <= set(range(1, 9))


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 3000), (3000, 1), (2, 2), (4320, 7680)], ids=lambda s: f"{s[0]}x{s[1]}"
)
def test_pictures_of_any_size_are_served(
    segmenter: MaskRcnnSegmenter, size: tuple[int, int]
) -> None:
    (found,) = segmenter.segment([np.full((*size, 3), 90, np.uint8)])

    assert found.masks.size == size


def test_read_only_and_strided_pictures_give_the_same(
    segmenter: MaskRcnnSegmenter, streets: list[np.ndarray]
) -> None:
    frozen = streets[1].copy()
    frozen.flags.writeable = False
    mirrored = np.ascontiguousarray(streets[1][:, ::-1])[:, ::-1]

    first, second, third = segmenter.segment([streets[1], frozen, mirrored])

    assert same(first, second)
    assert same(first, third)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((0, 9, 3), np.uint8), id="no-rows"),
        pytest.param(np.zeros((9, 9), np.uint8), id="grey"),
        pytest.param(np.zeros((9, 9, 3), np.float32), id="float"),
    ],
)
def test_what_is_no_picture_fails_by_name(segmenter: MaskRcnnSegmenter, image: np.ndarray) -> None:
    with pytest.raises(SegmentFailed, match="bad_picture: expected uint8 of shape"):
        segmenter.segment([image])


def test_an_empty_batch_is_an_empty_answer(segmenter: MaskRcnnSegmenter) -> None:
    assert segmenter.segment([]) == []


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "out_of_memory",
        ),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA error: an illegal memory access"), "model_error"),
    ],
)
def test_what_goes_wrong_on_the_device_becomes_a_named_failure(
    error: Exception, cause: str, segmenter: MaskRcnnSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(images: Sequence[np.ndarray]) -> None:
        raise error

    monkeypatch.setattr(segmenter._runner, "run", fail)
    with pytest.raises(SegmentFailed) as caught:
        segmenter.segment([np.zeros((50, 60, 3), np.uint8)])

    assert caught.value.cause == cause
    assert "\n" not in str(caught.value)


def with_room_for(count: int, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The engine fails on more pictures than `count`; the sizes of the batches it is given."""
    run, sizes = engine.run, []

    def bounded(images: Sequence[np.ndarray]) -> list[Found]:
        sizes.append(len(images))
        if len(images) > count:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return run(images)

    monkeypatch.setattr(engine, "run", bounded)
    monkeypatch.setattr(engine, "rehearse", bounded)
    return sizes


def test_a_batch_that_does_not_fit_is_halved_and_the_next_one_is_small_at_once(
    weights: str,
    streets: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    segmenter = opened(weights)
    expected = segmenter.segment(streets[:5])
    segmenter._per_pass = 8  # as on a GPU
    sizes = with_room_for(2, segmenter._running(), monkeypatch)

    found = segmenter.segment(streets[:5])
    assert sizes == [5, 2, 2, 1]
    again = segmenter.segment([*streets[:3], streets[3][:200, :160]])

    assert sizes[4:] == [2, 1, 1]  # the picture of another size is alone
    assert all(map(same, found, expected))
    assert all(map(same, again, expected[:3]))
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith("Tried to allocate 2.00 GiB; 2 at a time from now on")


def test_a_device_without_room_for_one_picture_is_refused_when_it_warms_up(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = load_segmenter(NAME, weights=weights, device="cpu")
    assert isinstance(segmenter, MaskRcnnSegmenter)
    with_room_for(0, segmenter._running(), monkeypatch)

    with pytest.raises(SegmentFailed, match="out_of_memory: 1 picture of 720x1280: CUDA out of"):
        segmenter.warm_up()


def test_a_batch_that_began_ends_with_what_segment_gives(
    segmenter: MaskRcnnSegmenter, streets: list[np.ndarray]
) -> None:
    images = [streets[0], streets[5][:200, :160], streets[9]]
    first, second = segmenter.begin(images), segmenter.begin(images[::-1])

    assert all(map(same, second(), segmenter.segment(images[::-1])))
    assert all(map(same, first(), segmenter.segment(images)))
    assert segmenter.depth == 1


def test_what_does_not_fit_under_way_is_halved_at_the_end(
    weights: str, streets: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = opened(weights)
    expected = segmenter.segment(streets[:3])
    segmenter._per_pass = 8  # as on a GPU
    engine = segmenter._running()
    forward = engine._steps

    def bounded(images: list[np.ndarray], *rest: Any) -> Any:
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (yield from forward(images, *rest))

    monkeypatch.setattr(engine, "_steps", bounded)
    first, second = segmenter.begin(streets[:3]), segmenter.begin(streets[:1])

    assert all(map(same, first(), expected))
    assert all(map(same, second(), expected[:1]))
    assert set(segmenter._room.values()) == {1}


def test_what_goes_wrong_under_way_is_told_at_the_end(
    segmenter: MaskRcnnSegmenter, streets: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(segmenter._runner, "_detect", fail)
    end = segmenter.begin(streets[:1])

    with pytest.raises(SegmentFailed, match="out_of_memory: 1 picture of 360x640: CUDA out of"):
        end()


def test_after_close_it_says_so(weights: str) -> None:
    segmenter = load_segmenter(NAME, weights=weights, device="cpu")
    segmenter.close()
    segmenter.close()

    with pytest.raises(SegmentFailed, match="closed"):
        segmenter.segment([np.zeros((9, 9, 3), np.uint8)])


def test_info_names_the_weights_and_bytes_load_like_the_file(
    segmenter: MaskRcnnSegmenter, weights: str
) -> None:
    file = fetch_weights(NAME, weights)
    assert file is not None
    shipped = load_segmenter(NAME, weights=file, device="cpu", precision="fp32")

    assert shipped.info == segmenter.info
    assert (shipped.info.name, shipped.info.labels[8]) == (NAME, "h")
    assert len(shipped.info.sha256) == 64


def test_warming_up_counts_its_bucket(weights: str) -> None:
    segmenter = load_segmenter(NAME, weights=weights, device="cpu")
    assert isinstance(segmenter, MaskRcnnSegmenter)
    segmenter.warm_up((96, 160))

    assert segmenter.buckets == {(96, 160): 1}


def test_warming_up_records_the_masks_of_every_lane_too() -> None:
    """Although there is nothing on black pictures: no kernel is compiled in front of a camera."""
    rig, cuda = Rig(dry=True, seconds=60, found=print), CpuCuda()
    engine = Engine(
        rig.demo_network(), rig.placement("fp32"), score_threshold=0.5, depth=2, cuda=cuda,
        kernels=twin_kernels(),
    )  # fmt: skip
    segmenter = MaskRcnnSegmenter(engine, ModelInfo(NAME, {1: "car"}, ""))
    segmenter.warm_up((96, 160))
    assert cuda.recorded == 2 * 2

    (found,) = segmenter.segment([np.zeros((96, 160, 3), np.uint8)])
    assert len(found) == 0


def test_precision_and_device_follow_the_machine() -> None:
    expected = "bf16" if cpu_bf16() else "fp32"
    assert place("cpu", "auto").precision == expected
    assert place("cpu", "fp32").dtype == torch.float32
    if not torch.cuda.is_available():
        assert place("auto").device.type == "cpu"
        with pytest.raises(ModelError, match="no usable CUDA device; use cpu or auto"):
            place("cuda")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "tpu"}, "device 'tpu': expected auto, cpu, cuda or cuda:N"),
        ({"device": "mps"}, "device 'mps': expected auto, cpu, cuda or cuda:N"),
        ({"precision": "int8"}, "precision 'int8': expected one of auto, fp32, fp16, bf16"),
        ({"device": "cpu", "precision": "fp16"}, "precision fp16 is for GPUs"),
        ({"score_threshold": 1.5}, "score_threshold: expected 0 to 1, got 1.5"),
        ({"threads": 0}, "threads: expected at least 1, got 0"),
        ({"max_batch": 0}, "max_batch: expected at least 1, got 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    settings: dict[str, object], message: str, weights: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_segmenter(NAME, weights=weights, **settings)  # type: ignore[arg-type]


def test_the_bundled_weights_find_the_things_of_the_street(streets: list[np.ndarray]) -> None:
    segmenter = load_segmenter(NAME, weights="demo", device="cpu")
    (found,) = segmenter.segment([streets[4]])

    assert (found.scores > 0.9).sum() >= 3
    assert set(segmenter.info.labels.values()) >= {"person", "car"}


def test_the_first_batch_on_a_gpu_is_one_that_fits(
    demo_network: MaskRCNN, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(demo_network, place("cpu", "fp32"), score_threshold=0.1)
    info = ModelInfo("maskrcnn_resnet18_fpn", {1: "car"}, "")
    small = MaskRcnnSegmenter(engine, info, max_batch=8, free_bytes=2_000_000_000)
    large = MaskRcnnSegmenter(engine, info, max_batch=8, free_bytes=80_000_000_000)
    for segmenter in (small, large):
        segmenter._per_pass = 8  # as on a GPU
    images = [np.zeros((480, 640, 3), np.uint8)] * 9

    sizes = [[len(rows) for _, rows in s._passes(engine, images)] for s in (small, large)]

    assert sizes == [[7, 2], [8, 1]]
    assert caplog.messages == ["7 pictures of 384x512 go together in 2.0 GB of GPU memory, not 8"]
