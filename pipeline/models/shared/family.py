"""`Model`: a name for `--model`; `Family`: what is the same for all models of one kind.

A family is a folder of `pipeline.models`: `family.py` is light and says which models there are
(`MODELS`) and what they share (`FAMILY`); `card.py` holds what is published about them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pipeline.catalogue import Entry

if TYPE_CHECKING:
    from pipeline.models.shared.files import WeightsFile
    from pipeline.stages import Segmenter


Shapes: TypeAlias = Mapping[str, Sequence[int]]
"""Of the tensors in a file of weights, by name; all that a layout is told by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What is published about a model, for `maskstream models`; empty where nothing is."""

    mask_ap: float | None = None
    """AP of masks on COCO val2017 in percent, of the published weights."""
    ap_source: str = ""
    """Who publishes that number, and where."""
    code_licence: str = ""
    """Of the code the network was published with."""
    weights_licence: str = ""
    """Of the published weights, and what it forbids."""
    weights_from: str = ""
    """Where they come from, and whether that needs a network."""
    files: tuple[str, ...] = ()
    """Their published file names."""


NO_CARD = ModelCard()


def held_labels(file: WeightsFile | None) -> Mapping[int, str]:
    """Those that stand in or beside weights; none where nothing is said."""
    return {} if file is None else file.labels or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What stands behind the colon of `--model name:reference`, where weights are no state dict.

    `--model name --weights reference` says the same, and a plan holds it so.
    """

    what: str
    """What it is, as a message goes on: `a folder, or a name on the hub`."""
    settle: Callable[[str], tuple[str, bool]]
    """`settle(reference)`: as a plan holds it, files by their whole path, as workers have working
    folders of their own; and whether it is read from this disk before a run starts."""
    read: Callable[[str, str], WeightsFile]
    """`read(name, reference)`: what travels to the workers, read or fetched here, once."""
    about: Callable[[str, str], WeightsFile | None]
    """`about(name, reference)`: what this machine's disk says of it, quickly; None: nothing."""
    recognise: Callable[[str], str | None]
    """`recognise(path)`: which of the family's models a path is of, where it is of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of model. Light: its functions import what is heavy when they are called."""

    load: Callable[..., Segmenter]
    """Called with a model's name, its weights and the options of `load_segmenter`."""
    labels: Callable[[WeightsFile | None], Mapping[int, str]] = held_labels
    """Names by class id; None: of published weights, or of a model that has none."""
    needs_weights: bool = True
    wants_gpu: bool = True
    """Whether a GPU is of use to it."""
    may_hang: bool = False
    """Whether it runs code of which nothing is known: in one process such a call is left behind
    where it does not come back."""
    bundled: Mapping[str, Path] = field(default_factory=dict)
    """Words for weights that come with this installation."""
    fetch: Callable[[str, str], WeightsFile] | None = None
    """Weights of a model by a published word that is not bundled."""
    recognise: Callable[[Shapes], str | None] | None = None
    """`recognise(shapes)`: which of its models tensors of these names and shapes are of, whatever
    layout of the family they lie in; None: of none. A file that another family recognises, and this
    one does not, is refused by the name of the other. None: it refuses by itself what it cannot
    read."""
    reference: Reference | None = None
    """How weights are read that are no state dict; None: they are one."""
    needs: tuple[str, str] | None = None
    """A module that must be installed, and the extra of maskstream it comes with."""
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
    same_tensors_as: str | None = None
    """The model a file of it is recognised as: only its published name tells the two apart."""
    card: ModelCard = NO_CARD

    @property
    def family(self) -> Family:
        """What it has in common with others."""
        found: Family = self.load()
        return found
