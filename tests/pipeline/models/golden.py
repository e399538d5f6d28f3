"""Recorded outputs of published models' reference code: how they are read and compared.

The folders lie beside the other test data; each has a README with a tolerance for every array.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Size
from pipeline.masks import Masks
from pipeline.models.mask_rcnn.detectron2.preprocess import ShortestEdge, prepare
from pipeline.models.mask_rcnn.detectron2.roi_align import LEAST_AREAS, gathered
from pipeline.models.mask_rcnn.engine.anchors import level_shapes
from pipeline.models.mask_rcnn.engine.dense import Dense
from pipeline.models.mask_rcnn.engine.last_head import Regions
from pipeline.models.mask_rcnn.engine.operators.preprocess import Batch
from pipeline.models.mask_rcnn.engine.operators.roi_align import make_layout, make_table
from pipeline.models.shared.input_rule import InputRule
from pipeline.models.shared.stored import StoredTensor

Pool = Callable[..., Tensor]


@dataclass(frozen=True)
class Folder:
    """What was recorded; a case is a picture, `0` or `1`."""

    path: Path

    def read(self, name: str) -> Any:
        """A file of it, .json or .npz."""
        path = self.path / name
        return dict(np.load(path)) if path.suffix == ".npz" else json.loads(path.read_text())

    @cached_property
    def config(self) -> Any:
        """What the reference was told."""
        return self.read("config.json")

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """`<case>.<array>` as recorded."""
        arrays: dict[str, NDArray[Any]] = self.read("golden.npz")
        return arrays

    @cached_property
    def _inputs(self) -> dict[str, NDArray[Any]]:
        inputs: dict[str, NDArray[Any]] = self.read("input.npz")
        return inputs

    def picture(self, case: str) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) BGR."""
        picture: NDArray[np.uint8] = self._inputs[f"{case}.image"]
        return picture

    def places(self, name: str, ours: Any) -> Any:
        """Where an array is recorded: of a feature map (C, H, W), some channels and cells."""
        return ours[tuple(slice(None, None, n) for n in self.config["subsampling"].get(name, ()))]


@dataclass(frozen=True)
class Golden(Folder):
    """Of detectron2's and torchvision's models."""

    def state(self, *, extras: bool = False) -> dict[str, NDArray[Any]]:
        """The weights under their published names, with what old files hold beside them."""
        return state_of(self.path, extras=extras)

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
        recorded: NDArray[Any] = self.arrays[f"{case}.{name}"]
        return recorded

    def output_size(self, case: str) -> Size:
        """(height, width) results are asked for at."""
        height, width = self.array(case, "image_size")[2:].tolist()
        return height, width

    def masks(self, case: str) -> Masks:
        """In the order of `boxes`."""
        rows = self.read("masks.json")[case]
        size = self.output_size(case)
        return Masks.from_coco([{"size": list(size), "counts": r["counts"]} for r in rows], size)

    def error(self, case: str, name: str, ours: Tensor | NDArray[Any]) -> float:
        """The largest difference, in tolerances: up to 1 is right.

        Args:
            case: of the picture.
            name: of the array.
            ours: the same numbers, or the whole of a feature map (C, H, W).
        """
        values = self.places(name, np.asarray(ours, np.float32))
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


def folder_of(shared_data: Path, name: str) -> Golden:
    """A folder of recorded outputs; the test is skipped where there is none."""
    path = shared_data / "golden" / name
    if not path.is_dir():
        pytest.skip(f"no recorded outputs at {path}")
    return Golden(path)


def shapes_in(shared_data: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published file; the test is skipped where there is no list of them."""
    path = shared_data / "golden" / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"no list of published tensors at {path}")
    return {key: tuple(shape) for key, shape, *_ in json.loads(path.read_text())["tensors"]}


def as_it_is(golden: Folder, rule: InputRule, case: str) -> Tensor:
    """A picture for a network, without a resize."""
    picture = golden.picture(case)
    rule = replace(rule, shorter=min(picture.shape[:2]), longest=4000)
    return rule.prepare([picture], torch.float32, torch.device("cpu"))


def stored(state: Mapping[str, NDArray[Any]]) -> dict[str, StoredTensor]:
    """Weights as a reader of files gives them."""
    return {
        name: StoredTensor.whole(str(v.dtype), v.shape, memoryview(v.tobytes()), fortran=False)
        for name, v in state.items()
    }


def batch_of(golden: Golden, case: str, network: Any, **change: tuple[float, ...]) -> Batch:
    """A picture as detectron2's network got it: not resized, results at the recorded size."""
    picture = golden.picture(case)
    rules = ShortestEdge.of(network)
    values = {"mean": rules.mean, "std": rules.std, **change}
    as_it_is = ShortestEdge(min(picture.shape[:2]), 10_000, **values)
    batch = prepare([picture], as_it_is, torch.float32)
    return Batch(batch.pixels, batch.sizes, torch.tensor([golden.output_size(case)]).float())


def regions_of(dense: Dense, padded: Size, boxes: Tensor, pool: Pool = gathered) -> Regions:
    """Regions of one picture, by detectron2's rule."""
    layout = make_layout(level_shapes(padded)[:-1], 1, torch.device("cpu"), least_areas=LEAST_AREAS)
    pictures = torch.zeros(len(boxes), dtype=torch.int64)
    return Regions(make_table(dense.levels[:-1]), layout, boxes, pictures, pool)


def state_of(folder: Path, *, extras: bool = False) -> dict[str, NDArray[Any]]:
    """The weights of a folder under their published names, with what old files hold beside."""
    rules = folder.parent / "state_dict.py"
    spec = importlib.util.spec_from_file_location("state_dict", rules)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    manifest = module.load_manifest(folder / "manifest.json")
    built: dict[str, NDArray[Any]] = module.build(manifest, extras=extras)
    return built
