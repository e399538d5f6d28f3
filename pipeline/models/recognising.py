"""Which model a file of weights is of, told from the names and shapes in it alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import ModelError
from pipeline.models.shared.family import Model, Shapes
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.shapes import shapes_of

_ELSEWHERE = {
    "sem_seg_head.predictor.": "Mask2Former as its authors publish it",
    "backbone.bottom_up.": "a detectron2 model that is not known here",
    "neck.lateral_convs.": "an OpenMMLab model, or a variant of one, that is not known here",
    "model.pixel_level_module.": "a MaskFormer or Mask2Former of transformers; "
    "give the folder it lies in: --model mask2former:FOLDER",
    "model.text_mapper.": "OneFormer of transformers; give the folder: --model oneformer:FOLDER",
    "prompt_encoder.": "a Segment Anything model",
}
"""Layouts no family reads from a file, by how a name begins."""
_DEFORMABLE_SOLO = re.compile(r"\.kernel_(convs|tower)\..*\bconv_offset\.")


def recognised(models: Iterable[Model], shapes: Shapes) -> str | None:
    """The model whose family knows the layout; None where none does."""
    for family in {id(model.family): model.family for model in models}.values():
        if family.recognise is not None and (name := family.recognise(shapes)) is not None:
            return name
    return None


def name_of(models: Iterable[Model], file: WeightsFile) -> str:
    """The model a file says it is of, or is recognised as.

    Where two models have the same tensors, the published name of the file tells them apart.

    Raises:
        ModelError: neither; or the file cannot be read.
    """
    if file.model is not None:
        return file.model
    shapes = shapes_of(file)
    name = recognised(models, shapes)
    if name is None:
        raise ModelError(
            f"weights {file.origin}: {_told(shapes)}; say which model they are of with --model"
        )
    published = Path(file.origin).name
    alike = (model for model in models if model.same_tensors_as == name)
    return next((model.name for model in alike if published in model.card.files), name)


def refuse_other(model: Model, models: Iterable[Model], file: WeightsFile) -> None:
    """Refuse a file of another family by the name of what it is of.

    What no family recognises is left to the model's own, which names the tensors that are missing.

    Raises:
        ModelError: it is of another family; or the file cannot be read.
    """
    recognise = model.family.recognise
    if recognise is None:
        return
    shapes = shapes_of(file)
    if recognise(shapes) is not None:
        return
    other = recognised(models, shapes)
    if other is not None:
        raise ModelError(
            f"weights {file.origin}: not of {model.name}: their tensors are those of {other}; "
            f"use --model {other}, or leave --model out"
        )
    if (elsewhere := _elsewhere(shapes)) is not None:
        raise ModelError(
            f"weights {file.origin}: not of {model.name}: their tensors are those of {elsewhere}"
        )


def _elsewhere(shapes: Shapes) -> str | None:
    if any(_DEFORMABLE_SOLO.search(key) for key in shapes):
        return "SOLOv2 with deformable convolutions (DCN), which is not read; its plain files are"
    for begin, what in _ELSEWHERE.items():
        if any(key.startswith(begin) for key in shapes):
            return what
    return None


def _told(shapes: Shapes) -> str:
    if (elsewhere := _elsewhere(shapes)) is not None:
        return f"their tensors are those of {elsewhere}"
    first = ", ".join(key[:60] for key in list(shapes)[:3])
    return f"no model is known with these {len(shapes)} tensors ({first}, ...)"
