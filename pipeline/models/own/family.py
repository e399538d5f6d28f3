"""`--model package.module:function`: what the function makes is a model like any other."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.errors import MaskstreamError, ModelError, in_one_line
from pipeline.models.own.importing import function_of, read, recognise, settle
from pipeline.models.shared.family import Family, Model, ModelCard, Reference

if TYPE_CHECKING:
    from pipeline.models.shared.files import WeightsFile
    from pipeline.stages import Segmenter

MODEL = Model(
    "own",
    "pipeline.models.own.family:FAMILY",
    "a segmenter of your own: --model package.module:function (docs/models.md)",
    card=ModelCard(code_licence="yours", weights_licence="yours", weights_from="your function"),
)


def _load(name: str, file: WeightsFile, **options: Any) -> Segmenter:
    make = function_of(file)
    try:
        known = inspect.signature(make).parameters
        every = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
        made = make(**{key: value for key, value in options.items() if every or key in known})
        _check(made, file.origin)
    except MaskstreamError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"model {file.origin}: cannot be made: {in_one_line(error)}") from error
    return made


def _check(made: Any, origin: str) -> None:
    """Refuse what no run could use; each answer is looked at when it comes."""
    from pipeline.stages import ModelInfo

    for method in ("segment", "close"):
        if not callable(getattr(made, method, None)):
            raise ModelError(
                f"model {origin}: the function must return a Segmenter (docs/models.md), got "
                f"{type(made).__name__} without {method}()"
            )
    try:
        info = made.info
    except AttributeError:
        info = None
    if not isinstance(info, ModelInfo):
        raise ModelError(
            f"model {origin}: info must be a ModelInfo(name, labels, sha256), got "
            f"{type(info).__name__}"
        )
    named = isinstance(info.labels, Mapping) and all(
        isinstance(i, int) and i > 0 and isinstance(text, str) for i, text in info.labels.items()
    )
    if not named or not info.labels or not isinstance(info.name, str) or not info.name:
        raise ModelError(
            f"model {origin}: info must have a name, and labels by class id from 1, got "
            f"{info.name!r:.40} and {info.labels!r:.60}"
        )


FAMILY = Family(
    load=_load,
    may_hang=True,
    reference=Reference(
        what="a function that returns a Segmenter, as package.module:function",
        settle=settle,
        read=read,
        about=read,
        recognise=recognise,
    ),
)
