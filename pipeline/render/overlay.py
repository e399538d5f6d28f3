"""Draw a result on its picture: translucent masks, outlines, skeletons and name tags.

Everything happens inside the boxes of the masks, so the cost is that of copying the picture plus
what the instances cover. Large masks are drawn first, small ones stay visible on top.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Image
from pipeline.instances import Instances
from pipeline.render import labels as tags
from pipeline.render import skeleton
from pipeline.render.palette import BGR, colour

FILL = 0.42
FILL_PREDICTED = 0.18
"""How much of the colour covers a mask that was carried on, not seen."""


def annotate(image: Image, instances: Instances, labels: Mapping[int, str]) -> Image:
    """A copy of the picture with the instances drawn on it.

    Args:
        image: uint8 (H, W, 3) BGR; not written to.
        instances: of this picture. Coloured by track where tracked, else by class; predicted ones
            are paler and have dashed outlines; one without a mask gets its box.
        labels: names by class id; a class without a name shows its number.

    Raises:
        ValueError: the masks belong to a picture of another size.
    """
    height, width = image.shape[:2]
    if instances.masks.size != (height, width):
        raise ValueError(
            f"cannot draw masks of size {instances.masks.size} on a picture of {(height, width)}"
        )
    drawn = image.copy()
    if not len(instances):
        return drawn
    crops = instances.masks.crops()
    line = max(1, round(min(height, width) / 320))
    boxes = {}
    for row in np.argsort([-mask.size for _, _, mask in crops], kind="stable").tolist():
        x, y, mask = crops[row]
        predicted = instances.predicted is not None and bool(instances.predicted[row])
        paint = _colour(instances, row)
        if mask.size:
            box = (x, y, x + mask.shape[1], y + mask.shape[0])
        else:
            box = _whole(instances.boxes[row], width, height)
        region = drawn[box[1] : box[3], box[0] : box[2]]
        solid = _solid(region.shape, paint)
        if mask.size:
            _fill(region, mask, solid, FILL_PREDICTED if predicted else FILL)
        else:
            mask = np.ones(region.shape[:2], bool)
        edge = _edge(mask, line)
        if predicted:
            edge &= _dashes(box, 4 * line)
        cv2.copyTo(solid, edge.view(np.uint8), region)
        boxes[row] = box
    if instances.keypoints is not None:
        for row, points in enumerate(instances.keypoints):
            skeleton.draw(drawn, points, _colour(instances, row), line)
    _write(drawn, instances, labels, boxes)
    return drawn


def _colour(instances: Instances, row: int) -> BGR:
    ids = instances.class_ids if instances.track_ids is None else instances.track_ids
    return colour(int(ids[row]))


def _solid(shape: tuple[int, ...], paint: BGR) -> Image:
    """A picture of one colour; row by row, which is 20 times as fast as pixel by pixel."""
    picture = np.empty(shape, np.uint8)
    picture.reshape(shape[0], -1)[:] = np.tile(np.array(paint, np.uint8), shape[1])
    return picture


def _fill(region: Image, mask: NDArray[np.bool_], solid: Image, opacity: float) -> None:
    blended = cv2.addWeighted(region, 1 - opacity, solid, opacity, 0)
    cv2.copyTo(blended, mask.view(np.uint8), region)


def _edge(mask: NDArray[np.bool_], line: int) -> NDArray[np.bool_]:
    """The mask's own outermost pixels, so that an outline never covers a neighbour."""
    core = cv2.erode(
        mask.view(np.uint8),
        np.ones((2 * line + 1, 2 * line + 1), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return np.asarray(mask > core, np.bool_)


def _dashes(box: tags.Rectangle, dash: int) -> NDArray[np.bool_]:
    """Every second square of a board that lies on the whole picture, cut to the box."""
    x, y = np.arange(box[0], box[2]), np.arange(box[1], box[3])
    return np.asarray((x // dash % 2 == 0) == (y // dash % 2 == 0)[:, None], np.bool_)


def _whole(box: NDArray[np.float32], width: int, height: int) -> tags.Rectangle:
    """The box in whole pixels, at least one, inside the picture."""
    x0, y0, x1, y1 = np.round(box).astype(int).tolist()
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    return x0, y0, max(min(x1, width), x0 + 1), max(min(y1, height), y0 + 1)


def _write(
    drawn: Image,
    instances: Instances,
    labels: Mapping[int, str],
    boxes: Mapping[int, tags.Rectangle],
) -> None:
    size = (drawn.shape[0], drawn.shape[1])
    room, letters = tags.Room(size), tags.text_height(size)
    for row in np.argsort(-instances.scores, kind="stable").tolist():  # the surest choose first
        class_id = int(instances.class_ids[row])
        words = [tags.plain(labels.get(class_id, str(class_id)))]
        if instances.track_ids is not None:
            words.append(f"#{int(instances.track_ids[row])}")
        words.append(f"{instances.scores[row]:.2f}")
        tag = tags.tag(" ".join(words), letters, _colour(instances, row))[: size[0], : size[1]]
        tall, wide = tag.shape[:2]
        x, y = room.place(boxes[row], (tall, wide))
        drawn[y : y + tall, x : x + wide] = tag
