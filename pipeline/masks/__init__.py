"""`Masks`: the masks of one picture as runs; no dense (N, H, W) array on any hot path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.masks.paste import paste_toggles
from pipeline.masks.runs import runs_of_toggles


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """N masks of one picture size, as the uncompressed COCO counts of all, one after another.

    Column-major; the first run of each mask is background and may be 0, no other run is 0; the
    runs of each mask sum to height * width.
    """

    size: tuple[int, int]
    """(height, width) in pixels."""
    counts: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    """(N + 1,): mask i owns `counts[offsets[i]:offsets[i + 1]]`."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: NDArray[Any] | slice | Sequence[int]) -> Masks:
        """Choose masks by boolean mask, indices or slice, in that order."""
        index = np.arange(len(self))[rows if isinstance(rows, slice) else np.asarray(rows)]
        return Masks.concatenate_counts(self.size, [self.runs(int(i)) for i in index])

    def runs(self, row: int) -> NDArray[np.uint32]:
        """The counts of mask `row`, a view."""
        return self.counts[self.offsets[row] : self.offsets[row + 1]]

    @staticmethod
    def concatenate_counts(size: tuple[int, int], runs: Iterable[NDArray[np.uint32]]) -> Masks:
        """Masks from one array of counts each."""
        parts = list(runs)
        lengths = np.array([0, *(len(p) for p in parts)], np.int64)
        counts = np.concatenate(parts) if parts else np.zeros(0, np.uint32)
        return Masks(size, counts.astype(np.uint32, copy=False), np.cumsum(lengths))

    @staticmethod
    def empty(size: tuple[int, int]) -> Masks:
        """No masks of a picture of `size` (height, width)."""
        return Masks(size, np.zeros(0, np.uint32), np.zeros(1, np.int64))

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
        probabilities = np.asarray(probabilities, np.float32)
        boxes = np.asarray(boxes, np.float32)
        n = len(boxes)
        square = probabilities.ndim == 3 and probabilities.shape[1] == probabilities.shape[2] > 0
        if boxes.shape != (n, 4) or not square or len(probabilities) != n:
            raise ValueError(
                "Masks.paste needs probabilities (N, M, M) and boxes (N, 4), "
                f"got {probabilities.shape} and {boxes.shape}"
            )
        if not (np.isfinite(boxes).all() and np.isfinite(probabilities).all()):
            raise ValueError("Masks.paste: probabilities and boxes must be finite")
        toggles = paste_toggles(probabilities, boxes, size)
        return Masks(size, *runs_of_toggles(toggles, n, size))

    @staticmethod
    def from_dense(masks: NDArray[np.bool_]) -> Masks:
        """From (N, H, W); for tests and small pictures."""
        n, h, w = masks.shape
        runs = []
        for mask in masks:
            flat = mask.T.reshape(-1)
            edges = np.flatnonzero(np.diff(flat)) + 1
            start = [0, 0] if flat.size and flat[0] else [0]
            runs.append(np.diff([*start, *edges, flat.size]).astype(np.uint32))
        return Masks.concatenate_counts((h, w), runs)

    def dense(self) -> NDArray[np.bool_]:
        """(N, H, W) booleans; for tests, small pictures and libraries that want them."""
        h, w = self.size
        out = np.zeros((len(self), w * h), bool)
        for i in range(len(self)):
            runs = self.runs(i).astype(np.int64)
            out[i] = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return out.reshape(len(self), w, h).transpose(0, 2, 1)

    @staticmethod
    def from_coco(rles: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Masks:
        """From COCO RLE objects, compressed (str or bytes) or uncompressed (list)."""
        return Masks.from_dense(
            np.stack([coco_mask.decode(dict(r)).astype(bool) for r in rles])
            if rles
            else np.zeros((0, *size), bool)
        )

    def to_coco(self) -> list[dict[str, Any]]:
        """COCO RLE objects `{"size": [h, w], "counts": str}`, byte-identical to pycocotools."""
        h, w = self.size
        out = []
        for i in range(len(self)):
            rle = coco_mask.frPyObjects({"size": [h, w], "counts": self.runs(i).tolist()}, h, w)
            out.append({"size": [h, w], "counts": rle["counts"].decode("ascii")})
        return out

    def areas(self) -> NDArray[np.int64]:
        """(N,) pixels of each mask."""
        return np.array([int(self.runs(i)[1::2].sum()) for i in range(len(self))], np.int64)
