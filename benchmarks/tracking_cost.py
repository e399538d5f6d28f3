"""What the tracker costs on one core: time a frame, camera motion, memory over many lives."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.masks import rois
from benchmarks.tracking_data import boxes_only
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.tracking import make_camera_motion, make_tracker

FULL_HD = (1080, 1920)
WALKER = np.array([60.0, 160.0])
"""Width and height of a box."""
FRAMES_A_SECOND, MASKS_MS, CAMERA_MS, GROWTH_MB = 3000.0, 1.5, 5.0, 2.0


def report(lives: int) -> bool:
    """Print the figures; False where a promise is broken."""
    import cv2

    cv2.setNumThreads(1)  # as in a stream's worker
    rate, masks, camera = 1000 / boxes_ms(), masks_ms(), camera_ms()
    print(f"\n20 boxes a frame: {rate:.0f} frames/s (promised {FRAMES_A_SECOND:.0f})")
    print(f"30 run-length masks at 1080p: {masks:.2f} ms a frame (promised {MASKS_MS})")
    print(f"camera motion at 1080p: {camera:.2f} ms a frame (promised {CAMERA_MS})")
    before, after = memory_mb(lives)
    print(
        f"{lives} frames of births and deaths: {before:.1f} MB, then {after:.1f} MB resident "
        f"(promised: no more than {GROWTH_MB} MB more)"
    )
    kept = rate >= FRAMES_A_SECOND and masks <= MASKS_MS
    return kept and camera <= CAMERA_MS and after - before <= GROWTH_MB


def _times_ms(frames: list[Instances], size: tuple[int, int]) -> float:
    tracker, taken = make_tracker(), []
    for index, found in enumerate(frames):
        begin = perf_counter()
        tracker.update(found, pts_s=index / 30, image_size=size)
        taken.append(perf_counter() - begin)
    return 1000 * median(taken[len(taken) // 5 :])


def boxes_ms(objects: int = 20, frames: int = 1000) -> float:
    """Median of one update; objects walk straight, boxes jitter, scores vary."""
    rng = np.random.default_rng(0)
    place, speed = rng.random((objects, 2)) * (1600, 700), rng.normal(0, 2, (objects, 2))
    steps = []
    for _ in range(frames):
        place = place + speed
        speed = np.where((place < 0) | (place > (1700, 800)), -speed, speed)
        corner = place + rng.normal(0, 1, place.shape)
        boxes = np.concatenate((corner, corner + WALKER), axis=1)
        steps.append(boxes_only(boxes, rng.uniform(0.5, 1, objects), 1, FULL_HD))
    return _times_ms(steps, FULL_HD)


def masks_ms(objects: int = 30, frames: int = 60) -> float:
    """Median of one update with masks of some 55,000 pixels that move."""
    probabilities, boxes = rois(objects, FULL_HD, seed=1)
    masks = Masks.paste(probabilities, boxes, FULL_HD)
    rng, steps = np.random.default_rng(0), []
    speed = rng.integers(-2, 3, (objects, 2))
    for index in range(frames):
        moved = masks.translate(*(speed * index).T)
        found = Instances(
            moved.boxes().astype(np.float32),
            rng.uniform(0.7, 1, objects).astype(np.float32),
            np.ones(objects, np.int64),
            moved,
        )
        steps.append(found[moved.areas() > 0])
    return _times_ms(steps, FULL_HD)


def camera_ms(frames: int = 30) -> float:
    """Median of one estimate while the picture pans; 20 masks are left out."""
    import cv2

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (140, 240, 3), np.uint8)
    wide = cv2.resize(coarse, (2300, 1300), interpolation=cv2.INTER_CUBIC)
    probabilities, boxes = rois(20, FULL_HD, seed=1)
    masks = Masks.paste(probabilities, boxes * np.float32(0.5), FULL_HD)
    camera, taken = make_camera_motion(), []
    for index in range(frames):
        view = np.ascontiguousarray(wide[index : index + 1080, 3 * index : 3 * index + 1920])
        begin = perf_counter()
        camera.estimate(view, masks)
        taken.append(perf_counter() - begin)
    return 1000 * median(taken[5:])


def memory_mb(frames: int) -> tuple[float, float]:
    """Resident size after a tenth of the frames and after all; 8 objects live 10 frames each."""
    tracker, rng, before = make_tracker(), np.random.default_rng(0), 0.0
    for index in range(frames):
        if index == frames // 10:
            before = _resident_mb()
        generation = np.random.default_rng(index // 10)
        corner = generation.random((8, 2)) * (1700, 800) + rng.normal(0, 1, (8, 2))
        boxes = np.concatenate((corner, corner + WALKER), axis=1)
        found = boxes_only(boxes, np.full(8, 0.95), 1, FULL_HD)
        tracker.update(found, pts_s=index / 30, image_size=FULL_HD)
    return before, _resident_mb()


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmRSS")
