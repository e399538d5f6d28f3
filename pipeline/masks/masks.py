"""`Masks`: the masks of one picture as runs; no dense (N, H, W) array on any hot path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.masks import coco, crops, iou, overlap, runs
from pipeline.masks.paste import paste_toggles, regions, some_at_a_time
from pipeline.masks.resize import resize_toggles
from pipeline.masks.sample import sampled_toggles

if TYPE_CHECKING:
    from pipeline.masks.polygons import Polygon

RUNS_AT_A_TIME = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """N masks of one picture size, as the uncompressed COCO counts of all, one after another.

    Column-major; the first run of each mask is background and may be 0, no other run is 0; the
    runs of each mask sum to height * width. Operations return new masks.

    Raises:
        ValueError: wrong dtypes, or offsets that do not span the counts. Whether the runs fill
            the picture is only checked by `validated` and `from_coco`.
    """

    size: tuple[int, int]
    """(height, width) in pixels."""
    counts: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    """(N + 1,): mask i owns `counts[offsets[i]:offsets[i + 1]]`."""

    def __post_init__(self) -> None:
        runs.check_shape(self.counts, self.offsets, self.size)

    # ---------------------------------------------------------------- made from other things

    @staticmethod
    def empty(size: tuple[int, int]) -> Masks:
        """No masks of a picture of `size` (height, width)."""
        return Masks(size, np.zeros(0, np.uint32), np.zeros(1, np.int64))

    @staticmethod
    def validated(
        size: tuple[int, int], counts: NDArray[np.uint32], offsets: NDArray[np.int64]
    ) -> Masks:
        """Masks from arrays that come from elsewhere, every run checked.

        Raises:
            ValueError: naming the mask whose runs do not fill the picture exactly once.
        """
        runs.check_runs(counts, offsets, size)
        return Masks(size, counts, offsets)

    @staticmethod
    def paste(
        probabilities: NDArray[np.float32], boxes: NDArray[np.float32], size: tuple[int, int]
    ) -> Masks:
        """Rasterise RoI masks, pixel-equal to torchvision's paste at a threshold of 0.5.

        Args:
            probabilities: (N, M, M) in [0, 1], after the sigmoid.
            boxes: (N, 4) xyxy in pixels of the picture.
            size: (height, width) of the picture.

        Raises:
            ValueError: wrong shapes, or a value that is not finite.
        """
        problem = regions(probabilities, boxes)
        return Masks(size, *some_at_a_time(paste_toggles, *problem, size))

    @staticmethod
    def sample(
        probabilities: NDArray[np.float32], boxes: NDArray[np.float32], size: tuple[int, int]
    ) -> Masks:
        """Rasterise RoI masks as detectron2 does: sampled at the centres of pixels, `>= 0.5`.

        Args:
            probabilities: (N, M, M) in [0, 1], after the sigmoid.
            boxes: (N, 4) xyxy in pixels of the picture, each with an area.
            size: (height, width) of the picture.

        Raises:
            ValueError: wrong shapes, a value that is not finite, or a box without area.
        """
        probabilities, boxes = regions(probabilities, boxes)
        if not (boxes[:, 2:] > boxes[:, :2]).all():
            raise ValueError("Masks.sample: every box must have an area")
        return Masks(size, *some_at_a_time(sampled_toggles, probabilities, boxes, size))

    @staticmethod
    def resize(
        probabilities: NDArray[np.float32], windows: NDArray[np.int64], size: tuple[int, int]
    ) -> Masks:
        """Scale maps of the whole picture to its size, pixel-equal to torch, and cut them at 0.5.

        Torch's way is bilinear interpolation, corners not aligned, `> 0.5`.

        Args:
            probabilities: (N, h, w) in [0, 1], of the whole picture.
            windows: (N, 4) xyxy in pixels of these maps, ends exclusive: what lies outside of
                them counts as 0. The smaller they are, the less has to be done.
            size: (height, width) of the picture.

        Raises:
            ValueError: wrong shapes, or a value that is not finite.
        """
        probabilities = np.asarray(probabilities, np.float32)
        windows = np.asarray(windows, np.int64)
        n = len(probabilities)
        if probabilities.ndim != 3 or 0 in probabilities.shape[1:] or windows.shape != (n, 4):
            raise ValueError(
                "Masks.resize needs probabilities (N, h, w) and windows (N, 4), "
                f"got {probabilities.shape} and {windows.shape}"
            )
        if not np.isfinite(probabilities).all():
            raise ValueError("Masks.resize: probabilities must be finite")
        return Masks._of_toggles(resize_toggles(probabilities, windows, size), n, size)

    @staticmethod
    def from_crops(
        size: tuple[int, int], masks: Iterable[tuple[int, int, NDArray[np.bool_]]]
    ) -> Masks:
        """From `(x0, y0, mask)`: boolean pictures (h, w) and where their first pixel lies.

        What lies outside of the picture is cut off.
        """
        pixels = size[0] * size[1]
        alone = (runs.counts_of(crops.toggles_of(crop, size), pixels) for crop in masks)
        return Masks(size, *runs.gathered(alone))

    @staticmethod
    def from_dense(masks: NDArray[np.bool_]) -> Masks:
        """From (N, H, W) booleans; for tests and small pictures."""
        height, width = masks.shape[1:]
        return Masks.from_crops((height, width), [(0, 0, mask) for mask in masks])

    @staticmethod
    def from_coco(rles: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Masks:
        """From COCO RLE objects, compressed (str or bytes) or uncompressed (list of counts).

        Raises:
            ValueError: naming the mask that has another size, is no RLE or does not sum up.
        """
        return Masks(size, *coco.parse(rles, size))

    @staticmethod
    def concatenate(size: tuple[int, int], parts: Iterable[Masks]) -> Masks:
        """The masks of all parts, in order; each is let go of before the next one is asked for.

        Raises:
            ValueError: a part belongs to a picture of another size.
        """

        def each() -> Iterator[NDArray[np.uint32]]:
            for part in parts:
                if part.size != size:
                    raise ValueError(
                        f"cannot put masks of size {part.size} into a picture of {size}"
                    )
                yield from (part.runs(row) for row in range(len(part)))
                del part

        return Masks(size, *runs.gathered(each()))

    @staticmethod
    def concatenate_counts(size: tuple[int, int], masks: Iterable[NDArray[np.uint32]]) -> Masks:
        """Masks from one array of counts each, taken as they are."""
        return Masks(size, *runs.gathered(masks))

    @staticmethod
    def _of_toggles(toggles: NDArray[np.int64], n: int, size: tuple[int, int]) -> Masks:
        return Masks(size, *runs.from_toggles(toggles, n, size))

    def _toggles(self) -> NDArray[np.int64]:
        return runs.to_toggles(self.counts, self.offsets, self.size)

    def _pieces(self) -> runs.Pieces:
        return runs.Pieces.of(self._toggles(), len(self), self.size)

    def _portions(self) -> Iterator[Masks]:
        """These masks some at a time: what is made of runs takes ten times their memory."""
        if len(self.counts) <= RUNS_AT_A_TIME:
            yield self
            return
        for some in runs.portions(np.diff(self.offsets), RUNS_AT_A_TIME):
            yield self[some]

    # ---------------------------------------------------------------- read

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: NDArray[Any] | slice | Sequence[int]) -> Masks:
        """Choose masks by boolean mask, indices or slice, in that order."""
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows if rows.size else np.zeros(0, np.int64)
        index = np.arange(len(self))[rows]
        offsets = np.zeros(len(index) + 1, np.int64)
        np.cumsum(np.diff(self.offsets)[index], out=offsets[1:])
        chosen = [self.runs(row) for row in index.tolist()]
        counts = np.concatenate(chosen) if chosen else np.zeros(0, np.uint32)
        return Masks(self.size, counts, offsets)

    def same_as(self, other: Masks) -> bool:
        """Whether both hold the same masks of the same picture size, in the same order."""
        return (
            self.size == other.size
            and np.array_equal(self.offsets, other.offsets)
            and np.array_equal(self.counts, other.counts)
        )

    def runs(self, row: int) -> NDArray[np.uint32]:
        """The counts of mask `row`, a view."""
        return self.counts[self.offsets[row] : self.offsets[row + 1]]

    def areas(self) -> NDArray[np.int64]:
        """(N,) pixels of each mask."""
        parts = [runs.areas(part.counts, part.offsets) for part in self._portions()]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def boxes(self) -> NDArray[np.int64]:
        """(N, 4) tight xyxy, right and bottom edge exclusive; zeros for empty masks."""
        parts = [part._pieces().boxes() for part in self._portions()]
        return np.concatenate([np.zeros((0, 4), np.int64), *parts])

    def to_coco(self) -> list[dict[str, Any]]:
        """COCO RLE objects `{"size": [h, w], "counts": str}`, byte-identical to pycocotools."""
        texts = coco.compress(self.counts, self.offsets)
        return [{"size": list(self.size), "counts": text} for text in texts]

    def crop(self, row: int) -> tuple[int, int, NDArray[np.bool_]]:
        """Mask `row` cut to its tight box: `(x0, y0, mask)`, mask (h, w); (0, 0) if empty."""
        return self[[row]].crops()[0]

    def crops(self) -> list[tuple[int, int, NDArray[np.bool_]]]:
        """Every mask cut to its tight box, as `crop` gives it."""
        toggles, step = self._toggles(), runs.stride(self.size)
        boxes = runs.Pieces.of(toggles, len(self), self.size).boxes().tolist()
        borders = np.searchsorted(toggles, np.arange(len(self) + 1) * step).tolist()
        return [
            (
                box[0],
                box[1],
                crops.crop(toggles[borders[i] : borders[i + 1]] - i * step, box, self.size[0]),
            )
            for i, box in enumerate(boxes)
        ]

    def dense(self) -> NDArray[np.bool_]:
        """(N, H, W) booleans; for tests, small pictures and libraries that want them."""
        out = np.zeros((len(self), *self.size), bool)
        for picture, (x, y, mask) in zip(out, self.crops(), strict=True):
            picture[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        return out

    def polygons(self, row: int) -> list[Polygon]:
        """The connected parts of mask `row`, each an outer ring and its holes.

        Rings run along pixel edges, so filling them gives back exactly the mask.
        """
        from pipeline.masks.polygons import trace  # OpenCV loads only where outlines are wanted

        x, y, mask = self.crop(row)
        return trace(mask, x, y)

    # ---------------------------------------------------------------- compare and combine

    def intersections(self, other: Masks) -> NDArray[np.int64]:
        """(N, M) pixels shared by each mask here and each in `other`.

        Only masks whose boxes meet are compared.

        Raises:
            ValueError: `other` belongs to a picture of another size.
        """
        self._same_picture(other)
        return iou.intersections(iou.Columns(self._pieces()), iou.Columns(other._pieces()))

    def iou(self, other: Masks) -> NDArray[np.float64]:
        """(N, M) intersection over union in [0, 1]; 0 between two empty masks.

        Raises:
            ValueError: `other` belongs to a picture of another size.
        """
        common = self.intersections(other)
        joined = self.areas()[:, None] + other.areas() - common
        return np.asarray(common / np.maximum(joined, 1), np.float64)

    def union(self) -> Masks:
        """One mask with every pixel that any mask here has."""
        return Masks._of_toggles(overlap.union(self._toggles(), self.size), 1, self.size)

    def subtract(self, other: Masks) -> Masks:
        """Every mask here without the pixels of all masks in `other`; some may end up empty.

        Raises:
            ValueError: `other` belongs to a picture of another size.
        """
        self._same_picture(other)
        return self._without(other, np.ones((len(self), len(other)), bool))

    def resolve_overlaps(self, priority: ArrayLike) -> Masks:
        """Disjoint masks: where several meet, the one of highest priority keeps the pixels.

        Args:
            priority: (N,) numbers; among equals the earlier mask wins.

        Returns:
            As many masks in the same order; some may be empty.
        """
        order = np.argsort(-np.asarray(priority, np.float64), kind="stable")
        rank = np.empty(len(self), np.int64)
        rank[order] = np.arange(len(self))
        return self._without(self, rank[None, :] < rank[:, None])

    def translate(self, dx: ArrayLike, dy: ArrayLike) -> Masks:
        """Move masks by whole pixels; what leaves the picture is cut off.

        Args:
            dx: to the right, one number or (N,).
            dy: down, one number or (N,).
        """
        across = np.broadcast_to(np.asarray(dx, np.int64), len(self))
        down = np.broadcast_to(np.asarray(dy, np.int64), len(self))
        toggles = overlap.moved(self._pieces(), across, down, self.size)
        return Masks._of_toggles(toggles, len(self), self.size)

    def _without(self, other: Masks, wanted: NDArray[np.bool_]) -> Masks:
        mine, theirs = self._toggles(), other._toggles()
        pairs = np.nonzero(iou.touching(self.boxes(), other.boxes()) & wanted)
        toggles = overlap.without(mine, theirs, (pairs[0], pairs[1]), len(self), self.size)
        return Masks._of_toggles(toggles, len(self), self.size)

    def _same_picture(self, other: Masks) -> None:
        if self.size != other.size:
            raise ValueError(f"masks of pictures of two sizes, {self.size} and {other.size}")
