"""Recorded outputs of published models' reference code: how they are read and compared.

The folders lie beside the other test data; each has a README with a tolerance for every array.
"""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Size
from pipeline.masks import Masks


@dataclass(frozen=True)
class Golden:
    """One folder; a case is a picture, `0` or `1`."""

    path: Path

    def state(self, *, extras: bool = False) -> dict[str, NDArray[Any]]:
        """The weights under their published names, with what old files hold beside them."""
        rules = _rules(self.path.parent / "state_dict.py")
        built: dict[str, NDArray[Any]] = rules.build(
            rules.load_manifest(self.path / "manifest.json"), extras=extras
        )
        return built

    @cached_property
    def config(self) -> Any:
        """What the reference was told."""
        return json.loads((self.path / "config.json").read_text())

    @cached_property
    def _arrays(self) -> Any:
        return np.load(self.path / "golden.npz")

    @cached_property
    def _inputs(self) -> Any:
        return np.load(self.path / "input.npz")

    @cached_property
    def tolerances(self) -> dict[str, float]:
        """By array, as the README has them."""
        rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", (self.path / "README.md").read_text(), re.M)
        cells = {name: rest.split("|")[5].strip() for name, rest in rows}
        return {
            name: float(text.split()[0]) for name, text in cells.items() if re.match(r"[\d.]", text)
        }

    def array(self, case: str, name: str) -> NDArray[Any]:
        """What was recorded."""
        recorded: NDArray[Any] = self._arrays[f"{case}.{name}"]
        return recorded

    def picture(self, case: str) -> NDArray[np.uint8]:
        """Uint8 BGR."""
        picture: NDArray[np.uint8] = self._inputs[f"{case}.image"]
        return picture

    def output_size(self, case: str) -> Size:
        """(height, width) results are asked for at."""
        height, width = self.array(case, "image_size")[2:].tolist()
        return height, width

    def masks(self, case: str) -> Masks:
        """In the order of `boxes`."""
        rows = json.loads((self.path / "masks.json").read_text())[case]
        size = self.output_size(case)
        return Masks.from_coco([{"size": list(size), "counts": r["counts"]} for r in rows], size)

    def error(self, case: str, name: str, ours: Tensor | NDArray[Any]) -> float:
        """The largest difference, in tolerances: up to 1 is right.

        Args:
            case: of the picture.
            name: of the array.
            ours: the same numbers, or the whole of a feature map (C, H, W).
        """
        values = np.asarray(ours, np.float32)
        if name in self.config["subsampling"]:
            values = values[tuple(slice(None, None, n) for n in self.config["subsampling"][name])]
        recorded = self.array(case, name)
        assert values.shape == recorded.shape, (name, values.shape, recorded.shape)
        return float(np.abs(values - recorded).max()) / self.tolerances[name]

    def found_again(
        self,
        case: str,
        boxes: NDArray[np.float32],
        scores: NDArray[np.float32],
        classes: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """(ours, recorded): which detections are the same: class, box and score."""
        near = np.abs(boxes[:, None] - self.array(case, "boxes")[None]).max(axis=2) < 0.02
        near &= classes[:, None] == self.array(case, "classes")[None]
        same: NDArray[np.bool_] = near & (
            np.abs(scores[:, None] - self.array(case, "scores")[None]) < 1e-3
        )
        return same

    def alike(self, case: str, masks: Masks) -> NDArray[np.bool_]:
        """(ours, recorded): which masks are the same but for a few pixels."""
        recorded = self.masks(case)
        iou = masks.iou(recorded)
        both = masks.areas()[:, None] + recorded.areas()[None]
        different = both * (1 - iou) / (1 + iou)
        same: NDArray[np.bool_] = (iou >= 0.98) | (different <= 6)
        return same


def _rules(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("state_dict", path)
    assert spec is not None
    assert spec.loader is not None
    rules = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rules)
    return rules
