"""The whole engine against torchvision's own forward."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection import MaskRCNN

from benchmarks.agreement import matched, near_ties, stage_errors
from benchmarks.gpu_steps.standins import CpuCuda
from benchmarks.reference import torchvision_masks
from pipeline.models.mask_rcnn.engine.box_head import BoxHead
from pipeline.models.mask_rcnn.engine.engine import Engine, mask_batch
from pipeline.models.mask_rcnn.engine.operators.preprocess import Batch, prepare
from pipeline.models.mask_rcnn.found import Found
from pipeline.models.shared.devices import place

Images = list[np.ndarray]
THRESHOLD = 0.1


def engine_of(
    network: MaskRCNN,
    precision: str = "fp32",
    threshold: float = THRESHOLD,
    cuda: CpuCuda | None = None,
) -> Engine:
    return Engine(network, place("cpu", precision), score_threshold=threshold, cuda=cuda)


def run_by(engine: Engine, images: Sequence[np.ndarray], batch: int) -> list[Found]:
    """Through the engine, pictures of one bucket together."""
    results: dict[int, Found] = {}
    buckets: dict[tuple[int, int], list[int]] = {}
    for i, image in enumerate(images):
        buckets.setdefault(engine.input_rules.padded(image.shape[:2]), []).append(i)
    for rows in buckets.values():
        for first in range(0, len(rows), batch):
            part = rows[first : first + batch]
            results.update(zip(part, engine.run([images[i] for i in part]), strict=True))
    return [results[i] for i in range(len(images))]


def test_with_the_bundled_weights_the_detections_are_those_of_torchvision(
    demo_network: MaskRCNN, photos: Images, streets: Images
) -> None:
    """The same on all pictures, and more networks: `python -m benchmarks.parity`."""
    images = photos[::5] + streets[::5]
    theirs = [torchvision_masks(demo_network, image) for image in images]
    engine = engine_of(demo_network)
    total = sum(len(found.scores) for found in theirs)
    assert demo_network.transform.min_size == (384,)
    assert total >= 200

    for batch in (1, 8):
        ours = run_by(engine, images, batch)
        same = sum(int(matched(a, b).sum()) for a, b in zip(ours, theirs, strict=True))
        assert same >= 0.995 * total, batch


def test_with_random_weights_what_differs_is_a_near_tie(
    small_network: MaskRCNN, photos: Images, streets: Images
) -> None:
    images = photos[:2] + streets[:1]
    engine = engine_of(small_network)
    misses = total = 0
    for image in images:
        theirs = torchvision_masks(small_network, image)
        lost = ~matched(engine.run([image])[0], theirs)
        total, misses = total + len(lost), misses + int(lost.sum())
        assert np.array_equal(near_ties(small_network, image, theirs, lost), lost)

    assert total >= 300
    assert misses <= 0.05 * total


def test_a_detection_that_is_off_in_anything_has_no_partner(
    demo_network: MaskRCNN, streets: Images
) -> None:
    theirs = torchvision_masks(demo_network, streets[0])
    (ours,) = engine_of(demo_network).run([streets[0]])
    assert matched(ours, theirs).all()

    moved, scored, named, thinned = (copy.deepcopy(ours) for _ in range(4))
    moved.boxes[0, 2] += 0.1
    scored.scores[0] -= 0.001
    named.classes[0] += 1
    thinned.probabilities[0, 14] = 0
    for wrong in (moved, scored, named, thinned):
        assert not matched(wrong, theirs)[0]
        assert matched(wrong, theirs)[1:].all()


def test_every_stage_adds_less_than_a_ten_thousandth(
    small_network: MaskRCNN, photos: Images, streets: Images
) -> None:
    for image in (photos[5], streets[8]):
        errors = stage_errors(small_network, image)
        assert len(errors) == 10
        assert max(errors.values()) <= 1e-4, errors


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_picture_gives_the_same_bits_every_time(
    precision: str, small_network: MaskRCNN, streets: Images
) -> None:
    engine = engine_of(small_network, precision)
    (first,), _, (second,) = (engine.run([streets[i]]) for i in (0, 9, 0))

    assert len(first.scores) > 20
    assert np.array_equal(first.boxes, second.boxes)
    assert np.array_equal(first.scores, second.scores)
    assert np.array_equal(first.probabilities, second.probabilities)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_number_of_threads_changes_nothing(
    precision: str, small_network: MaskRCNN, streets: Images
) -> None:
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(engine_of(small_network, precision).run([streets[7]])[0])

    assert len(results[0].scores) > 20
    for other in results[1:]:
        assert np.array_equal(results[0].boxes, other.boxes)
        assert np.array_equal(results[0].scores, other.scores)
        assert np.array_equal(results[0].probabilities, other.probabilities)


def test_when_candidates_are_cut_off_the_result_is_still_exact(
    small_network: MaskRCNN, streets: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where pictures are looked at one by one, because there is no room to do it together."""
    engine, pictures = engine_of(small_network), streets[3:5]
    whole = engine.run(pictures)
    monkeypatch.setattr("pipeline.models.mask_rcnn.engine.engine.CANDIDATES", 30)
    together = engine.run(pictures)
    monkeypatch.setattr("pipeline.models.mask_rcnn.engine.engine.PAIRS_AT_ONCE", 1)
    one_by_one = engine.run(pictures)

    for expected, *again in zip(whole, together, one_by_one, strict=True):
        assert len(expected.scores) > 30
        for found in again:
            assert np.array_equal(expected.boxes, found.boxes)
            assert np.array_equal(expected.scores, found.scores)


def test_nothing_above_the_threshold_gives_no_detections(
    small_network: MaskRCNN, streets: Images
) -> None:
    (found,) = engine_of(small_network, threshold=1.0).run([streets[0]])

    assert len(found.scores) == 0
    assert found.probabilities.shape == (0, 28, 28)
    assert len(found.instances()) == 0


@pytest.mark.parametrize(
    ("device", "rows"), [("cuda", [4, 4, 8, 32, 64, 100, 100]), ("cpu", [4, 4, 8, 20, 64, 68, 100])]
)
def test_the_mask_head_runs_for_few_sizes_on_a_gpu_and_little_waste_on_a_cpu(
    device: str, rows: list[int]
) -> None:
    kept = (1, 4, 5, 17, 64, 65, 100)
    assert [mask_batch(n, 100, torch.device(device)) for n in kept] == rows


def test_a_new_bucket_is_served_and_counted(small_network: MaskRCNN) -> None:
    engine = engine_of(small_network, threshold=1.0)
    engine.run([np.zeros((100, 160, 3), np.uint8)])
    engine.run([np.zeros((100, 160, 3), np.uint8)] * 2)
    engine.run([np.zeros((160, 100, 3), np.uint8)])

    assert dict(engine.buckets) == {(160, 256): 3, (256, 160): 1}


class Operations(TorchDispatchMode):
    """Counts dispatched operations, and those that would make a GPU wait for the host."""

    waits = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "item", "nms.")

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))

    def waiting(self) -> list[str]:
        return [
            name
            for name in self.names
            if not name.startswith("maskstream") and any(word in name for word in self.waits)
        ]


def unrecorded(stage: str) -> None:
    """Who measures stages gets no recorded graph, which copies inputs that have moved."""


def operations(engine: Engine, batch: Batch) -> tuple[Operations, int]:
    with torch.inference_mode():
        engine.forward(batch, unrecorded)  # the anchors of a bucket are made once
        with Operations() as counter:
            results = engine.forward(batch, unrecorded)
    return counter, len(results.scores)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_cpu_the_box_head_has_no_more_rows_than_quarters_that_proposals_fill(
    precision: str, small_network: MaskRCNN, streets: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(small_network.rpn._post_nms_top_n, "testing", 10_000)  # more than there are
    rows: list[int] = []
    real = BoxHead.__call__

    def counted(head: BoxHead, pooled: torch.Tensor, batch: int = 1) -> object:
        rows.append(len(pooled))
        return real(head, pooled, batch)

    monkeypatch.setattr(BoxHead, "__call__", counted)
    image = streets[0][:64, :96]
    engine, as_on_a_gpu = (engine_of(small_network, precision, cuda=c) for c in (None, CpuCuda()))
    (ours,), (full,) = engine.run([image]), as_on_a_gpu.run([image])

    assert len({*rows[1:]}) == 1
    assert rows[0] / rows[1] in (0.25, 0.5, 0.75)
    assert len(ours.scores) > 20
    assert np.array_equal(ours.boxes, full.boxes)
    assert np.array_equal(ours.scores, full.scores)
    assert np.array_equal(ours.probabilities, full.probabilities)


def test_on_a_gpu_operations_depend_on_neither_batch_nor_detections_and_wait_once(
    small_network: MaskRCNN, streets: Images
) -> None:
    images = [image[:180, :320] for image in streets[:16]]
    (everything,) = engine_of(small_network, threshold=0.0).run(images[:1])
    counts = {}
    for threshold, batch in ((0.0, 1), (float(everything.scores[1]), 1), (0.95, 16)):
        engine = engine_of(small_network, threshold=threshold, cuda=CpuCuda())
        counter, kept = operations(
            engine, prepare(images[:batch], engine.input_rules, torch.float32)
        )
        counts[batch, kept] = len(counter.names)
        assert len(counter.waiting()) == 1, counter.waiting()

    assert {(1, 100), (1, 1)} < set(counts)
    assert max(kept for batch, kept in counts if batch == 16) > 1
    assert len(set(counts.values())) == 1, counts
