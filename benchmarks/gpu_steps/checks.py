"""What must hold of the engine on a GPU: step e of `benchmarks.gpu`, and `make test-gpu`.

Each check raises AssertionError; in a dry run it goes the same way on stand-ins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from benchmarks.agreement import Tolerance, matched
from benchmarks.gpu_steps.rig import NAME, Image, Rig, shrunk
from benchmarks.gpu_steps.standins import CpuCuda
from benchmarks.reference import torchvision_forward
from pipeline.models.mask_rcnn.bench import network_for, noise
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.operators import kernels
from pipeline.models.mask_rcnn.found import Found
from pipeline.models.mask_rcnn.segmenter import MaskRcnnSegmenter
from pipeline.models.shared.cudnn import cudnn_usable
from pipeline.stages import ModelInfo


def every_kernel_is_used(rig: Rig) -> None:
    """Each has given its twin's answer on this device."""
    if rig.dry:
        return  # step b compares them in the interpreter
    chosen, plain = kernels.kernels_for(rig.device), kernels.Kernels()
    unused = [n for n in ("prepare", "nms", "roi_align") if getattr(chosen, n) is getattr(plain, n)]
    assert not unused, f"not used: {unused}"
    assert chosen.paste is not None, "not used: paste"


def the_kernels_give_the_detections_of_their_twins(rig: Rig) -> None:
    """The whole engine with its GPU kernels, from bytes to runs."""
    network = rig.demo_network()
    images = rig.streets(4)
    if rig.dry:
        shrunk(network, proposals=1, detections=1, side=32)
        network.roi_heads.mask_roi_pool.output_size = (2, 2)
        images = [np.ascontiguousarray(images[0][20:36, 40:64])]
    threshold = rig.size(0.1, 0.0)
    ours = rig.engine(network, "fp32", threshold=threshold, interpreted=True).run(images)
    theirs = Engine(
        network, rig.placement("fp32"), score_threshold=threshold, kernels=kernels.Kernels()
    ).run(images)
    total = sum(len(one.scores) for one in theirs)
    lost = sum(int((~matched(a, b)).sum()) for a, b in zip(ours, theirs, strict=True))
    assert total, "nothing found"
    assert lost <= 0.01 * total, f"{lost} of {total} detections differ"


def float32_finds_what_torchvision_finds(rig: Rig) -> None:
    """One to one in class, box, score and mask."""
    found, total = parity(rig, rig.streets(rig.size(32, 2)))
    assert total >= rig.size(100, 3), f"only {total} detections to compare"
    assert found >= 0.99 * total, f"{found} of {total} detections"


def parity(rig: Rig, images: list[Image]) -> tuple[int, int]:
    """How many of torchvision's detections the engine has in fp32, and how many there are."""
    network = rig.demo_network()
    threshold = rig.size(0.1, 0.02)
    network.roi_heads.score_thresh = threshold
    with exact_products():
        engine = rig.engine(network, "fp32", threshold=threshold)
        ours = [one for image in images for one in engine.run([image])]
        network.to(rig.device)
        theirs = [torchvision_forward(network, [image])[0] for image in images]
    within = rig.size(Tolerance(box_px=0.1, score=1e-3, mask_iou=0.995), Tolerance())
    same = [matched(a, b, within) for a, b in zip(ours, theirs, strict=True)]
    return sum(int(rows.sum()) for rows in same), sum(len(rows) for rows in same)


class exact_products:
    """No TF32 inside."""

    def __enter__(self) -> None:
        flags = torch.backends.cuda.matmul, torch.backends.cudnn
        self._kept = [(flag, flag.allow_tf32) for flag in flags]
        for flag in flags:
            flag.allow_tf32 = False

    def __exit__(self, *exc: object) -> None:
        for flag, value in self._kept:
            flag.allow_tf32 = value


def graphs_are_recorded_and_replayed(rig: Rig) -> None:
    """A small sequence, the way the engine does it."""
    lane = rig.lane()
    with lane.active():
        for value in (1.0, 2.0, 3.0):
            given = torch.full((8,), value, device=rig.device)
            (answer,) = lane.graphs.run("key", lambda x: (x * 2 + 1,), given)
            expected = 2 * value + 1
            assert answer.tolist() == [expected] * 8, f"a replay gave {answer.tolist()}"
    taken = lane.graphs._cuda is not None and len(lane.graphs._made) == 1
    assert taken, "recording was refused, see the warning"


def a_replay_gives_what_the_first_pass_gave(rig: Rig) -> None:
    """Also after another batch, which must leave nothing behind."""
    network = rig.demo_network()
    batches = [rig.streets(2), rig.streets(2, seed=32)]
    plain = Engine(
        network,
        rig.placement("fp16"),
        score_threshold=rig.size(0.1, 0.02),
        kernels=kernels.Kernels(),
    )
    engine = rig.engine(network, threshold=rig.size(0.1, 0.02), depth=1)
    first = [engine.run(batch) for batch in batches]
    again = [engine.run(batch) for batch in batches]
    for a, b in zip(first, again, strict=True):
        same(a, b)
    if rig.dry:
        for a, batch in zip(first, batches, strict=True):
            same(a, plain.run(batch))
        assert isinstance(engine._cuda, CpuCuda)
        assert engine._cuda.replayed > engine._cuda.recorded > 0, "no graph was replayed"


def batches_under_way_give_what_each_gives_alone(rig: Rig) -> None:
    """Whatever else is on the device."""
    engine = rig.engine(rig.demo_network(), threshold=rig.size(0.1, 0.02))
    images = rig.streets(rig.size(32, 3))
    step = rig.size(4, 1)
    batches = [images[i : i + step] for i in range(0, len(images), step)]
    alone = [engine.run(batch) for batch in batches]
    for _ in range(rig.size(3, 1)):
        under_way = [engine.submit(batch) for batch in batches]
        for one, expected in zip(under_way, alone, strict=True):
            same(one.result(), expected)


def a_pass_waits_only_for_what_it_fetched(rig: Rig) -> None:
    """Nothing else stops the stream."""
    engine = rig.engine(rig.demo_network(), threshold=rig.size(0.1, 0.02))
    images = rig.streets(rig.size(8, 1))
    for _ in range(engine.depth):  # every lane records its graphs
        engine.run(images)
    if not rig.dry:
        torch.cuda.set_sync_debug_mode("error")
    try:
        found = engine.run(images)
    finally:
        if not rig.dry:
            torch.cuda.set_sync_debug_mode("default")
    assert sum(len(one.scores) for one in found) > 0, "nothing found"


def convolutions_are_fused(rig: Rig) -> None:
    """By cuDNN, with the plain form's answer."""
    if not rig.dry:
        assert cudnn_usable(rig.device, torch.float16), "cuDNN's fusion is refused"


def a_batch_too_large_is_halved(rig: Rig) -> None:
    """And finds the same."""
    network = rig.demo_network()
    engine = rig.engine(network, threshold=rig.size(0.1, 0.02))
    classes = network.roi_heads.box_predictor.cls_score.out_features
    labels = {i: str(i) for i in range(1, classes)}
    segmenter = MaskRcnnSegmenter(engine, ModelInfo(NAME, labels, ""), max_batch=32)
    images = rig.streets(rig.size(32, 2))
    expected = segmenter.segment(images[:1])
    engine.forget()
    if rig.dry:
        with _short_of_memory(engine):
            segmenter._per_pass = 2
            found = segmenter.segment(images)
    else:
        free, total = torch.cuda.mem_get_info(rig.device)
        torch.cuda.set_per_process_memory_fraction(min(1.0, (total - free + 2**30) / total))
        try:
            found = segmenter.segment(images)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(found) == len(images), f"{len(found)} results of {len(images)} pictures"
    assert len(found[0]) == len(expected[0]), "another number of detections"


class _short_of_memory:
    """Passes of more than one picture fail inside, as they do on a small card."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._run = engine, engine.run

    def __enter__(self) -> None:
        def run(images: list[Image], *rest: object) -> list[Found]:
            if len(images) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")
            return self._run(images)

        self._engine.run = run  # type: ignore[method-assign]

    def __exit__(self, *exc: object) -> None:
        self._engine.run = self._run  # type: ignore[method-assign]


def memory_does_not_grow(rig: Rig) -> None:
    """Over many batches of one size."""
    network = rig.demo_network() if rig.dry else network_for("maskrcnn_resnet50_fpn")
    engine = rig.engine(network, threshold=0.5)
    images = noise(rig.size((480, 640), (96, 160)), rig.size(8, 1))
    for _ in range(2):
        engine.run(images)
    before = 0 if rig.dry else torch.cuda.memory_allocated()
    for _ in range(rig.size(50, 1)):
        engine.run(images)
    after = 0 if rig.dry else torch.cuda.memory_allocated()
    assert after <= before + 2**20, f"{after - before} bytes more"


def same(ours: list[Found], theirs: list[Found]) -> None:
    """Boxes, scores, classes and masks, to the last bit."""
    assert len(ours) == len(theirs)
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        for name in ("boxes", "scores", "classes"):
            equal = np.array_equal(getattr(a, name), getattr(b, name))
            assert equal, f"{name} of picture {number} differ"
        masks = [one.instances().masks.counts for one in (a, b)]
        assert np.array_equal(*masks), f"masks of picture {number} differ"


CHECKS: Mapping[str, Callable[[Rig], None]] = {
    check.__name__: check
    for check in (
        every_kernel_is_used,
        the_kernels_give_the_detections_of_their_twins,
        float32_finds_what_torchvision_finds,
        graphs_are_recorded_and_replayed,
        a_replay_gives_what_the_first_pass_gave,
        batches_under_way_give_what_each_gives_alone,
        a_pass_waits_only_for_what_it_fetched,
        convolutions_are_fused,
        a_batch_too_large_is_halved,
        memory_does_not_grow,
    )
}
