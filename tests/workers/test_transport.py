"""What crosses processes comes out as it went in."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pipeline.errors import SegmentFailed
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.masks import Masks
from workers.transport import pack, packed_pictures, unpack


def instances(count: int, size: tuple[int, int], seed: int = 0, **more: object) -> Instances:
    rng = np.random.default_rng(seed)
    return Instances(
        boxes=rng.random((count, 4), np.float32),
        scores=rng.random(count, np.float32),
        class_ids=rng.integers(1, 91, count),
        masks=Masks.from_dense(rng.random((count, *size)) > 0.5),
        **more,  # type: ignore[arg-type]
    )


def assert_same(a: Instances | SegmentFailed, b: Instances | SegmentFailed) -> None:
    if isinstance(a, SegmentFailed):
        assert isinstance(b, SegmentFailed)
        assert (a.cause, a.detail) == (b.cause, b.detail)
        return
    assert isinstance(b, Instances)
    assert a.masks.size == b.masks.size
    names = ("boxes", "scores", "class_ids", "track_ids", "predicted", "embeddings", "keypoints")
    pairs = [(a.masks.counts, b.masks.counts), (a.masks.offsets, b.masks.offsets)]
    for x, y in [*pairs, *((getattr(a, name), getattr(b, name)) for name in names)]:
        if x is None or y is None:
            assert x is y
            continue
        assert x.dtype == y.dtype
        assert_array_equal(x, y)


@pytest.mark.parametrize(
    "outcomes",
    [
        pytest.param([], id="nothing"),
        pytest.param([instances(3, (4, 5))], id="one picture"),
        pytest.param([instances(0, (4, 5)), instances(0, (6, 2))], id="nothing found"),
        pytest.param(
            [instances(1, (1, 1)), instances(0, (4, 5)), instances(4, (6, 2), 1)], id="mixed sizes"
        ),
        pytest.param(
            [instances(2, (4, 5)), SegmentFailed("out_of_memory", "3 GB"), instances(1, (4, 5))],
            id="a failure in the middle",
        ),
        pytest.param(
            [
                instances(2, (4, 5), embeddings=np.ones((2, 8), np.float16)),
                instances(0, (4, 5)),
            ],
            id="embeddings",
        ),
    ],
)
def test_outcomes_survive_the_journey(outcomes: list[Instances | SegmentFailed]) -> None:
    sizes = [(4, 5) if isinstance(o, SegmentFailed) else o.masks.size for o in outcomes]
    there = pickle.loads(pickle.dumps(pack(outcomes, sizes)))
    back = unpack(there)
    assert len(back) == len(outcomes)
    for sent, received in zip(outcomes, back, strict=True):
        assert_same(sent, received)


def test_unpacked_instances_own_writable_memory_whatever_they_came_in() -> None:
    packed = pack([instances(2, (4, 5))], [(4, 5)])
    for values in [packed.counts, *packed.columns.values()]:
        values.flags.writeable = False  # as shared memory is
    (back,) = unpack(packed)
    assert isinstance(back, Instances)
    for values in (back.boxes, back.scores, back.class_ids, back.masks.counts):
        assert values.flags.writeable


def test_a_view_with_gaps_is_sent_as_a_whole_picture() -> None:
    image = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
    frame = Frame("cam", 0, 0, 0.0, image[::2, ::2])
    packed = packed_pictures([("cam", frame), ("yard", frame), ("yard", frame)])
    assert {stream: len(pictures) for stream, pictures in packed.items()} == {"cam": 1, "yard": 2}
    (sent,) = packed["cam"]
    assert sent.flags.c_contiguous
    assert_array_equal(sent, image[::2, ::2])
