"""The published layouts with recorded outputs, and small networks where those are absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.yolact import randomised
from pipeline.models.shared.files import read_weights
from pipeline.models.shared.layers import conv_maker
from pipeline.models.yolact.dense import YolactDense
from pipeline.models.yolact.designs import Design
from pipeline.models.yolact.detections import YolactDetections, detect
from pipeline.models.yolact.importer import load_network
from pipeline.models.yolact.network import Yolact, YolactOutputs
from pipeline.models.yolact.preprocess import SquareRule
from pipeline.models.yolact.priors import make_priors
from tests.pipeline.models.golden import Folder, state_of

MAKE = conv_maker(torch.device("cpu"), torch.float32)


@dataclass(frozen=True)
class Stages:
    """What becomes of a picture on its way through the fast form of a network."""

    pixels: Tensor
    stem: Tensor
    body: list[Tensor]
    levels: list[Tensor]
    outputs: YolactOutputs


@dataclass(frozen=True)
class Recorded(Folder):
    """One model: its file in the published layout, and what the reference says of two pictures."""

    name: str
    file: str

    @cached_property
    def network(self) -> Yolact:
        """With the weights of the file."""
        return load_network(self.name, read_weights(self.file))

    @cached_property
    def tolerances(self) -> dict[str, float]:
        """Of the arrays, from the table of the folder's README."""
        rows = [line.split("|") for line in (self.path / "README.md").read_text().splitlines()]
        cells = [[cell.strip() for cell in row] for row in rows if len(row) == 10]
        return {c[1].strip("`"): float(c[7]) for c in cells if c[7] and c[7][0].isdigit()}

    def pixels(self, case: str) -> Tensor:
        """As the network sees it."""
        rule = SquareRule.of(self.network.design)
        return rule.prepare([self.picture(case)], torch.float32, torch.device("cpu"))

    def stages(self, case: str) -> Stages:
        """Of the network as it is, once a case."""
        if case not in self._stages:
            with torch.inference_mode():
                dense = YolactDense(self.network, MAKE)
                pixels = self.pixels(case)
                body = dense.body(pixels)
                levels = dense.levels(body)
                stem = dense.body.stem(pixels)
                self._stages[case] = Stages(pixels, stem, body, levels, dense.outputs(levels))
        return self._stages[case]

    def outputs(self, case: str) -> YolactOutputs:
        """What it says in the end."""
        return self.stages(case).outputs

    @cached_property
    def _stages(self) -> dict[str, Stages]:
        return {}

    def off(self, case: str, name: str, ours: Tensor) -> float:
        """How far an array is from what is recorded, in tolerances; above 1: too far."""
        if name in self.config["subsampling"]:
            ours = self.places(name, ours[0])
        recorded = self.arrays[f"{case}.{name}"]
        assert tuple(ours.shape) == recorded.shape, name
        return float(np.abs(ours.numpy() - recorded).max()) / self.tolerances[name]


def run(network: Yolact, pixels: Tensor) -> YolactOutputs:
    """What the fast form of a network says."""
    with torch.inference_mode():
        return YolactDense(network, MAKE)(pixels)


def detections(network: Yolact, outputs: YolactOutputs, threshold: float = 0.0) -> YolactDetections:
    """Of the first picture."""
    return detect(
        outputs.boxes[0],
        outputs.logits[0],
        outputs.coefficients[0],
        make_priors(network.design),
        threshold,
    )


@pytest.fixture(scope="session")
def recorded(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Recorded]:
    """`recorded("yolact_resnet50")` or `"yolact_plus_resnet50"`, each once."""
    made: dict[str, Recorded] = {}

    def of(name: str) -> Recorded:
        if name not in made:
            folder = shared_data / "golden" / name.replace("resnet", "r")
            if not folder.is_dir():
                pytest.skip(f"no recorded outputs at {folder}")
            state = state_of(folder)
            path = tmp_path_factory.mktemp(name) / f"{name}_54_800000.pth"
            torch.save({key: torch.from_numpy(value) for key, value in state.items()}, path)
            made[name] = Recorded(folder, name, str(path))
        return made[name]

    return of


@pytest.fixture(scope="session")
def small() -> Callable[..., Yolact]:
    """`small(side=..., **design)`: a shallow network with random weights that find something."""

    def make(num_classes: int = 6, **design: Any) -> Yolact:
        blocks = (1,) * (5 if design.get("darknet") else 4)
        network = Yolact(Design(**{"blocks": blocks, "side": 96} | design), num_classes)
        return randomised(network)

    return make
