"""Masks and tracks in a `for` loop.

    python examples/track_api.py                       # a rendered street, found by colour
    python examples/track_api.py street.mp4 car,person # your video, the default model

Leaving the loop, by `break` or by an exception, stops everything that was started behind it.
"""

import sys
from collections import Counter

from maskstream import track


def main(source: str | None = None, classes: str | None = None) -> None:
    seen: Counter[str] = Counter()
    results = (
        track("synthetic://street?seed=1&frames=20&size=320x180", model="blob")
        if source is None
        else track(source, classes=classes.split(",") if classes else None)
    )
    for result in results:
        found = result.instances
        for class_id, track_id in zip(found.class_ids, found.track_ids, strict=True):
            seen[f"{result.labels[int(class_id)]} {track_id}"] += 1
        if result.index == 0:
            picture = result.plot()  # uint8 (height, width, 3), BGR; `result.image` is without
            print(f"{picture.shape[1]} x {picture.shape[0]} pixels")
    for name, frames in seen.most_common(5):
        print(f"{name}: {frames} frames")


if __name__ == "__main__":
    main(*sys.argv[1:3])
