"""A mask-tracking test set anyone can make: `python -m benchmarks.silhouettes GT.txt OUT`.

Every box of a MOT ground truth becomes a walking silhouette, those that stand lower in the picture
in front of the others, so the truth is exact. An imitated detector then misses, merges, shifts,
thickens and thins what can be seen of them, and invents some. Truth and detections are written as
MOTS text, which `maskstream retrack` and `maskstream eval track --format kitti-mots` read. The
same input gives the same bytes.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.tracking_data import Video, info, mots_sequence, packed
from pipeline.evaluation.rules import PEDESTRIAN
from pipeline.formats.mot import MotTable, read_mot
from pipeline.formats.mots import read_mots
from pipeline.masks import Masks
from pipeline.sources.street.synthetic import SyntheticSource

WALKER = 2
"""The class of a silhouette: pedestrian in KITTI-MOTS."""
WALKERS = "walkers"
"""The set of silhouettes in recorded boxes."""
LEAST_PX = 12
"""Masks of fewer pixels are neither truth nor found."""
MOST_FRAMES = 400
STREET = "synthetic://street?seed={seed}&frames=300&size=960x540&fps=15"


@dataclass(frozen=True, slots=True)
class Noise:
    """What the imitated detector does wrong; shares are probabilities."""

    miss: float = 0.08
    """Of an object that is wholly visible; hidden ones are missed more."""
    merge: float = 0.05
    """Two that touch become one."""
    false: float = 0.04
    """For each object, one that is not there."""
    jitter_px: int = 2
    """Masks are shifted, thickened and thinned by up to this much, small ones by less."""
    score: float = 0.08
    """Standard deviation of the score around what the overlap deserves."""
    lost_frames: float = 0.03
    """Frames in which nothing is found."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One frame: disjoint visible masks, their tracks, and what share of each is visible."""

    masks: Masks
    ids: NDArray[np.int64]
    classes: NDArray[np.int64]
    visible: NDArray[np.float64]


def walker(width: int, height: int, phase: float) -> NDArray[np.bool_]:
    """A silhouette that fills its box about: head, trunk, arms and legs at a phase of its step."""
    picture = np.zeros((max(height, 1), max(width, 1)), np.uint8)
    swing = np.sin(phase)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x * (width - 1)), round(y * (height - 1))

    head = max(1, round(min(0.09 * height, 0.3 * width)))
    cv2.circle(picture, at(0.5, 0.09), head, 1, -1)
    trunk = max(1, round(0.26 * width)), max(1, round(0.21 * height))
    cv2.ellipse(picture, at(0.5, 0.36), trunk, 0, 0, 360, 1, -1)
    leg, arm = max(1, round(0.2 * width)), max(1, round(0.12 * width))
    for side in (-1, 1):
        cv2.line(picture, at(0.5, 0.5), at(0.5 + 0.34 * side * swing, 0.95), 1, leg)
        cv2.line(picture, at(0.5, 0.22), at(0.5 - 0.4 * side * swing, 0.55), 1, arm)
    return picture.astype(bool)


def walkers(
    table: MotTable, *, fps: float, size: tuple[int, int], scale: float, classes: bool = True
) -> Iterator[Scene]:
    """The frames of a MOT ground truth, from its first on, at another scale.

    `classes` says whether column 8 holds the class, of which only pedestrians are drawn.
    """
    small = (round(size[0] * scale), round(size[1] * scale))
    counted = table.scores != 0
    if classes:
        counted &= table.classes == PEDESTRIAN
    for frame in range(1, min(int(table.frames.max()), MOST_FRAMES) + 1):
        rows = np.flatnonzero((table.frames == frame) & counted)
        crops = []
        for row in rows.tolist():
            x, y, w, h = (table.boxes[row] * scale).round().astype(int).tolist()
            phase = 2 * np.pi * 1.2 * frame / fps + 1.7 * float(table.ids[row])
            crops.append((x, y, walker(w, h, phase)))
        whole = Masks.from_crops(small, crops)
        masks = whole.resolve_overlaps(table.boxes[rows, 1] + table.boxes[rows, 3])
        share = masks.areas() / np.maximum(whole.areas(), 1)
        kept = masks.areas() >= LEAST_PX
        ids = WALKER * 1000 + table.ids[rows]
        yield Scene(masks[kept], ids[kept], np.full(kept.sum(), WALKER), share[kept])


def street(url: str) -> Iterator[Scene]:
    """The rendered street; its truth is exact already."""
    source = SyntheticSource(url, source_id="street")
    for _, truth, _ in source.truths():
        kept = truth.masks.areas() >= LEAST_PX
        assert truth.track_ids is not None
        share = truth.masks.areas() / np.maximum(np.prod(_spans(truth.masks), axis=1), 1)
        visible = np.clip(share * 1.6, 0, 1)  # a whole figure fills most of its box
        yield Scene(truth.masks[kept], truth.track_ids[kept], truth.class_ids[kept], visible[kept])


def _spans(masks: Masks) -> NDArray[np.int64]:
    boxes = masks.boxes()
    return boxes[:, 2:] - boxes[:, :2]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the imitated detector says of a frame; masks are disjoint."""

    masks: Masks
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]


def detect(scene: Scene, noise: Noise, rng: np.random.Generator) -> Found:
    """Everything a detector does wrong, to one frame."""
    size, masks = scene.masks.size, scene.masks
    n = len(masks)
    if not n or rng.random() < noise.lost_frames:
        return Found(Masks.empty(size), np.zeros(0, np.int64), np.zeros(0))
    seen = rng.random(n) >= noise.miss + 0.6 * (1 - scene.visible) ** 2
    crops = masks.crops()
    parts: list[tuple[int, int, NDArray[np.bool_]]] = []
    owners: list[int] = []
    gone = _merged(masks, noise, rng)
    for row in np.flatnonzero(seen).tolist():
        if row in gone:
            continue
        parts.append(_jittered(*crops[row], noise.jitter_px, rng))
        owners.append(row)
        for other in (o for o, into in gone.items() if into == row):
            parts[-1] = _joined(parts[-1], crops[other])
    found = Masks.from_crops(size, parts)
    overlap = found.iou(masks)[np.arange(len(owners)), owners]
    scores = np.clip(rng.normal(0.25 + 0.65 * overlap, noise.score), 0.05, 0.99)
    classes = scene.classes[owners]
    invented = np.flatnonzero(rng.random(n) < noise.false)
    if len(invented):
        away = rng.integers(-size[1] // 3, size[1] // 3, len(invented))
        down = rng.integers(-size[0] // 6, size[0] // 6, len(invented))
        found = Masks.concatenate(size, [found, masks[invented].translate(away, down)])
        scores = np.concatenate((scores, rng.uniform(0.05, 0.7, len(invented))))
        classes = np.concatenate((classes, scene.classes[invented]))
    found = found.resolve_overlaps(scores)
    kept = found.areas() >= LEAST_PX
    order = rng.permutation(np.flatnonzero(kept))
    return Found(found[order], classes[order], scores[order])


def _merged(masks: Masks, noise: Noise, rng: np.random.Generator) -> dict[int, int]:
    """Rows that vanish into another row: neighbours that touch."""
    grown = [m.translate(dx, 0) for m, dx in ((masks, 2), (masks, -2))]
    touch = grown[0].intersections(masks) + grown[1].intersections(masks)
    np.fill_diagonal(touch, 0)
    gone: dict[int, int] = {}
    for a, b in zip(*np.nonzero(np.triu(touch + touch.T)), strict=True):
        if rng.random() < noise.merge and a not in gone and b not in gone.values():
            gone.setdefault(int(b), int(a))
    return {b: a for b, a in gone.items() if a not in gone}


def _jittered(
    x: int, y: int, mask: NDArray[np.bool_], most: int, rng: np.random.Generator
) -> tuple[int, int, NDArray[np.bool_]]:
    most = min(most, min(mask.shape) // 8)  # small objects shake less
    change, dx, dy = rng.integers(-most, most + 1, 3).tolist()
    padded = np.pad(mask, most).astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    work = cv2.dilate if change > 0 else cv2.erode
    changed = work(padded, cross, iterations=abs(change)) if change else padded
    if 2 * int(changed.sum()) < int(mask.sum()):
        changed = padded  # thin ones would vanish
    return x - most + dx, y - most + dy, changed.astype(bool)


def _joined(
    a: tuple[int, int, NDArray[np.bool_]], b: tuple[int, int, NDArray[np.bool_]]
) -> tuple[int, int, NDArray[np.bool_]]:
    x, y = min(a[0], b[0]), min(a[1], b[1])
    right = max(part[0] + part[2].shape[1] for part in (a, b))
    bottom = max(part[1] + part[2].shape[0] for part in (a, b))
    out = np.zeros((bottom - y, right - x), bool)
    for px, py, mask in (a, b):
        out[py - y : py - y + mask.shape[0], px - x : px - x + mask.shape[1]] |= mask
    return x, y, out


def write(
    scenes: Iterable[Scene], truth: Path, found: Path, *, noise: Noise | None = None, seed: int = 0
) -> int:
    """Both texts, frames from 0; how many frames there are."""
    rng, frame = np.random.default_rng(seed), -1
    with truth.open("w") as true_file, found.open("w") as found_file:
        for frame, scene in enumerate(scenes):
            height, width = scene.masks.size
            head = f"{frame} {{}} {{}} {height} {width} {{}}"
            for i, c, rle in zip(scene.ids, scene.classes, scene.masks.to_coco(), strict=True):
                true_file.write(head.format(i, c, rle["counts"]) + "\n")
            answer = detect(scene, noise or Noise(), rng)
            rows = zip(answer.classes, answer.masks.to_coco(), answer.scores, strict=True)
            for c, rle, score in rows:
                found_file.write(head.format(0, c, rle["counts"]) + f" {score:.4f}\n")
    return frame + 1


def sets(data: Path | None, *, quick: bool = False) -> Iterator[tuple[str, list[Video]]]:
    """Named test sets: the rendered street, and silhouettes in recorded boxes if there are any.

    `quick` leaves out those in the boxes of the dancers.
    """
    yield "street", [_video(f"street-{s}", street(STREET.format(seed=s)), 15) for s in range(3)]
    if data is None:
        return
    places = [data / "mot" / name for name in ("TUD-Campus", "TUD-Stadtmitte", "MOT17-09")]
    videos = [_recorded(p, read_mot(p / "gt" / "gt.txt")) for p in places]
    if not quick:
        dancers = sorted((data / "dancetrack").glob("dancetrack*"))[::3]
        videos += [_recorded(p, packed(p / "gt.txt.gz")) for p in dancers]
    yield WALKERS, videos


def _recorded(place: Path, table: MotTable) -> Video:
    about = info(place)
    size, fps = (int(about["imHeight"]), int(about["imWidth"])), float(about["frameRate"])
    scale = min(1.0, 540 / size[0])
    classes = not place.name.startswith("TUD")  # there column 8 is a place in the world
    scenes = walkers(table, fps=fps, size=size, scale=scale, classes=classes)
    return _video(place.name, scenes, fps)


def _video(name: str, scenes: Iterable[Scene], fps: float) -> Video:
    """Through the texts, as a user would."""
    with tempfile.TemporaryDirectory() as folder:
        truth, found = Path(folder) / "truth.txt", Path(folder) / "found.txt"
        frames = write(scenes, truth, found)
        tables = read_mots(truth), read_mots(found, unique_ids=False)
        return mots_sequence(name, *tables, fps=fps, frames=frames)


def main() -> None:
    table, out = read_mot(sys.argv[1]), Path(sys.argv[2])
    size = np.ceil((table.boxes[:, :2] + table.boxes[:, 2:]).max(axis=0)).astype(int)
    name = f"{Path(sys.argv[1]).stem}.txt"
    for kind in ("truth", "detections"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    classes = bool((table.classes == PEDESTRIAN).any())
    whole = int(size[1]), int(size[0])
    scenes = walkers(table, fps=30, size=whole, scale=1.0, classes=classes)
    frames = write(scenes, out / "truth" / name, out / "detections" / name)
    print(f"{frames} frames in {out}/truth/{name} and {out}/detections/{name}")


if __name__ == "__main__":
    main()
