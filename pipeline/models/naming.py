"""What `--model` says: a name of the catalogue, `name:reference`, or `package.module:function`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from pipeline.catalogue import hint
from pipeline.errors import ConfigError
from pipeline.models.own.family import MODEL as OWN
from pipeline.models.own.importing import is_function
from pipeline.models.shared.family import Model, Reference
from pipeline.paths import expanded


def row_of(models: Mapping[str, Model], name: str) -> Model:
    """The row of a name; of `name:reference` that before the colon.

    Raises:
        ConfigError: there is none of that name, or it takes no reference.
    """
    first, colon, _ = name.partition(":")
    if first not in models and is_function(name):
        return models[OWN.name]
    if first not in models:
        raise ConfigError(
            f"model {name!r} is not known{hint(first, models)}; known are {', '.join(models)}"
        )
    model = models[first]
    if colon and model.family.reference is None:
        raise ConfigError(f"model {name!r}: {first} stands alone; give a file with --weights")
    return model


def split(models: Mapping[str, Model], name: str, weights: str | None) -> tuple[str, str | None]:
    """Take a reference out of the name: it is what weights are.

    Raises:
        ConfigError: as of `row_of`, or name and weights say different things.
    """
    first, colon, reference = name.partition(":")
    if row_of(models, name).name != first:  # a function of the user's, that stands for itself
        first, reference = OWN.name, name
    elif not colon:
        return name, weights
    if weights is not None and weights != reference:
        raise ConfigError(
            f"model {name!r} says which weights, and --weights {weights!r} others; leave one out"
        )
    return first, expanded(reference)


def settled(
    models: Mapping[str, Model], model: Model, reference: Reference, weights: str | None
) -> str:
    """A reference as a plan holds it.

    Raises:
        ConfigError: there is none, or it leads nowhere.
    """
    if not weights:
        raise ConfigError(
            f"model {model.name} is to be told which: --model {model.name}:REFERENCE, "
            f"{reference.what}"
        )
    try:
        return reference.settle(weights)[0]
    except ConfigError as error:  # a function of the user's, or a model that was misspelt
        meant = hint(weights.partition(":")[0], models) if model.name == OWN.name else ""
        raise ConfigError(f"{error}{meant}") from error


def check_installed(model: Model) -> None:
    """Refuse a model whose extra is not installed, with the line that installs it.

    Raises:
        ConfigError: that.
    """
    if model.family.needs is None:
        return
    module, extra = model.family.needs
    if find_spec(module) is None:
        raise ConfigError(
            f"model {model.name} needs {module}, which is not installed: "
            f"pip install 'maskstream[{extra}]'"
        )
