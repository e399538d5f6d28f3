"""`Model`: a name for `--model`; `Family`: what is the same for all models of one kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.catalogue import Entry

if TYPE_CHECKING:
    from pipeline.models.shared.files import WeightsFile
    from pipeline.stages import Segmenter


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of model. Light: its functions import what is heavy when they are called."""

    load: Callable[..., Segmenter]
    """Called with a model's name, its weights and the options of `load_segmenter`."""
    labels: Callable[[WeightsFile | None], Mapping[int, str]]
    """Names by class id; None: of published weights, or of a model that has none."""
    needs_weights: bool = True
    wants_gpu: bool = True
    """Whether a GPU is of use to it."""
    bundled: Mapping[str, Path] = field(default_factory=dict)
    """Words for weights that come with this installation."""
    fetch: Callable[[str, str], WeightsFile] | None = None
    """Weights of a model by a published word that is not bundled."""
    name_of: Callable[[WeightsFile], str | None] = lambda file: file.model
    """Which model a file belongs to; None where it does not say."""
    largest_batch: Callable[..., int] | None = None
    """`largest_batch(model, size, precision, free_bytes, threshold=...)`: pictures of a padded
    (height, width) that go together on a GPU; None: not known."""


@dataclass(frozen=True, slots=True)
class Model(Entry):
    """One row of the catalogue; `opens` names its `Family`."""

    weights: str | None = None
    """What is loaded when nothing is asked for; None: a path must be given, or there are none."""
    published: tuple[str, ...] = ()
    """Words that may stand for a path."""
    gflop_per_frame: float = 0.0
    """Of a 16:9 frame with about ten instances; 0: not known."""

    @property
    def family(self) -> Family:
        """What it has in common with others."""
        found: Family = self.load()
        return found
