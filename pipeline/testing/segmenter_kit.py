"""`check_segmenter`: whether something keeps what `pipeline.stages.Segmenter` promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.arrays import Image
from pipeline.instances import Instances
from pipeline.stages import Measured, Overlapping, Segmenter, Warm
from pipeline.testing.promise import promised


def check_segmenter(make: Callable[[], Segmenter], images: Sequence[Image]) -> None:
    """Use a segmenter as a worker does.

    Args:
        make: loads it.
        images: at least two pictures, uint8 (H, W, 3) BGR, better of two sizes and with something
            to be found in each.

    Raises:
        AssertionError: a promise was broken; the message says which.
    """
    promised(len(images) >= 2, f"check_segmenter needs two pictures or more, got {len(images)}")
    segmenter = make()
    try:
        if isinstance(segmenter, Warm):
            segmenter.warm_up()
        _describes_itself(segmenter)
        frozen = [_frozen(image) for image in images]
        found = segmenter.segment(frozen)
        promised(
            isinstance(found, list) and len(found) == len(images),
            f"segment() of {len(images)} pictures gave {found!r:.60}; one Instances a picture",
        )
        for image, kept, one in zip(images, frozen, found, strict=True):
            promised(np.array_equal(image, kept), "segment() wrote into a picture")
            _fits(one, image, segmenter)
        _each_by_itself(segmenter, frozen, found)
        promised(segmenter.segment([]) == [], "segment([]) has to give []")
        if isinstance(segmenter, Overlapping):
            _overlaps(segmenter, frozen, found)
        if isinstance(segmenter, Measured):
            _knows_its_sizes(segmenter, len(images))
    finally:
        segmenter.close()
        segmenter.close()  # safe to call twice


def _frozen(image: Image) -> Image:
    copy = image.copy()
    copy.flags.writeable = False
    return copy


def _describes_itself(segmenter: Segmenter) -> None:
    info = segmenter.info
    promised(info.name, "info.name is empty; records say which model they come from")
    for class_id, name in info.labels.items():
        promised(
            class_id >= 0 and isinstance(name, str) and name,
            f"info.labels has {class_id!r}: {name!r}; ids are numbers from 0, names are words",
        )


def _fits(found: Instances, image: Image, segmenter: Segmenter) -> None:
    height, width = image.shape[:2]
    promised(
        found.masks.size == (height, width),
        f"masks of size {found.masks.size} for a picture of {(height, width)}",
    )
    x1, y1, x2, y2 = found.boxes.T
    inside = (x1 >= 0) & (y1 >= 0) & (x1 < x2) & (y1 < y2) & (x2 <= width) & (y2 <= height)
    promised(
        inside.all(), f"boxes have to lie in the picture, got {found.boxes[~inside][:1].tolist()}"
    )
    sure = np.isfinite(found.scores) & (found.scores >= 0) & (found.scores <= 1)
    promised(sure.all(), f"scores lie from 0 to 1, got {found.scores[~sure][:1].tolist()}")
    unknown = set(found.class_ids.tolist()) - set(segmenter.info.labels)
    promised(not unknown, f"class ids {sorted(unknown)} are not in info.labels")
    promised((found.masks.areas() > 0).all(), "a mask without a pixel; leave it out")
    promised(found.track_ids is None, "a segmenter gives no track ids; the tracker does")


def _each_by_itself(
    segmenter: Segmenter, images: Sequence[Image], together: Sequence[Instances]
) -> None:
    """What is found in a picture does not depend on the pictures beside it."""
    for number, (image, one) in enumerate(zip(images, together, strict=True)):
        alone = segmenter.segment([image])[0]
        promised(
            _alike(alone, one),
            f"picture {number} gave {len(alone)} instances alone and {len(one)} in a batch, "
            "or other ones; what is found may not depend on the pictures beside it",
        )


def _overlaps(
    segmenter: Overlapping, images: Sequence[Image], together: Sequence[Instances]
) -> None:
    """Batches that are under way at once are those that come one after another."""
    promised(segmenter.depth >= 1, f"depth is {segmenter.depth}; a batch at a time is 1")
    if segmenter.depth == 1:
        return
    begun = [segmenter.begin(images) for _ in range(segmenter.depth)]
    for number, end in enumerate(begun):
        found = end()
        promised(
            len(found) == len(together) and all(map(_alike, found, together)),
            f"batch {number} of {segmenter.depth} at once is not what segment() gives",
        )


def _knows_its_sizes(segmenter: Measured, count: int) -> None:
    met = sum(segmenter.buckets.values())
    promised(met >= count, f"buckets count {met} pictures, {count} or more were segmented")


def _alike(one: Instances, other: Instances) -> bool:
    return (
        len(one) == len(other)
        and np.array_equal(one.class_ids, other.class_ids)
        and np.allclose(one.scores, other.scores, atol=1e-3)
        and bool((np.diag(one.masks.iou(other.masks)) > 0.98).all())
    )
