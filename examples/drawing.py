"""What the consumers beside this file do with a record: say what is in it, and draw its masks.

Needs pycocotools, NumPy and OpenCV, and nothing of maskstream: copy it along with one of them.
Messages that are not JSON need zstandard or msgpack, too.
"""

import json
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

COLOURS = ((80, 80, 255), (80, 255, 80), (255, 80, 80), (80, 255, 255), (255, 80, 255))


def record_in(message: bytes) -> dict[str, Any]:
    """The record that a message is, in each `encoding` a sink has for it."""
    if message.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        message = zstandard.ZstdDecompressor().decompress(message)
    if message.startswith(b"{"):
        return json.loads(message)
    import msgpack

    return msgpack.unpackb(message)


def show(record: dict[str, Any], folder: str | None = None) -> None:
    """Print a line for each instance, and draw those with a mask into a picture in the folder.

    What a sink's URL left out (`fields=`, `mask=none`) is not in a record.
    """
    picture = None
    for found, colour in zip(record.get("instances", ()), cycle(COLOURS)):
        what = f"frame {record['frame']}: {found.get('label') or 'something'}"
        if "mask" not in found:
            print(what)
            continue
        mask = pixels(found["mask"])
        print(f"{what} covers {mask.sum()} pixels")
        if picture is None:
            picture = np.zeros((*mask.shape, 3), np.uint8)
        picture[mask == 1] = colour
    if folder is not None and picture is not None:
        path = Path(folder, f"{record['frame']:08d}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)


def pixels(mask: dict[str, Any]) -> NDArray[np.uint8]:
    """A mask as height x width numbers, 1 where the instance is: of runs, and of outlines."""
    if "counts" in mask:
        return coco_mask.decode(mask)
    filled = np.zeros(mask["size"], np.uint8)
    for rings in mask["polygons"]:
        for ring in rings:
            for (x, y), (x_next, y_next) in pairwise([*ring, ring[0]]):
                if x == x_next:  # to the right of each upright side, inside becomes outside
                    filled[min(y, y_next) : max(y, y_next), x:] ^= 1
    return filled
