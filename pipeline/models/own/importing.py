"""Where a user's function is imported from: what is installed, then the folder the run began in.

That folder comes last, so that nothing in it can stand in for anybody else's module. Workers look
in the same folder of their machine. What a worker finds must be the file the run was started with.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module, invalidate_caches
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, ModelError, in_one_line
from pipeline.models.shared.files import WeightsFile

_FUNCTION = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")
_FOLDER, _FILE = "folder", "file"


def is_function(reference: str) -> bool:
    """Whether a text has the form `package.module:function`."""
    return _FUNCTION.fullmatch(reference) is not None


def settle(reference: str) -> tuple[str, bool]:
    """The reference; its module is looked for, and not run.

    Raises:
        ConfigError: it is none, or there is no such module.
    """
    _found(reference)
    return reference, True


def read(name: str, reference: str) -> WeightsFile:
    """What travels to the workers: where the module lies, and the digest of its text.

    Raises:
        ConfigError: there is no such module.
    """
    folder, file = _found(reference)
    return WeightsFile(reference, b"", _digest(file), {_FOLDER: folder, _FILE: str(file)})


def recognise(path: str) -> str | None:
    """No path is a function."""
    return None


def function_of(file: WeightsFile) -> Callable[..., Any]:
    """The function, imported.

    Raises:
        ModelError: its module cannot be imported here, is another than the run was started with,
            or has no such function.
    """
    module, _, function = file.origin.partition(":")
    top = module.partition(".")[0]
    folder = file.settings[_FOLDER]
    if top not in sys.modules and find_spec(top) is None and folder not in sys.path:
        sys.path.append(folder)  # it stays: the module may import its neighbours later
        invalidate_caches()
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"model {file.origin}: {in_one_line(error)}, looked for among what is installed on "
            f"this machine and in {folder}"
        ) from error
    except (Exception, SystemExit) as error:  # code of others runs at its import
        raise ModelError(
            f"model {file.origin}: {module} cannot be imported: {in_one_line(error)}"
        ) from error
    source = getattr(loaded, "__file__", None)
    if source is not None and _digest(Path(source)) != file.sha256:
        raise ModelError(
            f"model {file.origin}: {source} on this machine is not the file the run was started "
            f"with, {file.settings[_FILE]}"
        )
    made = getattr(loaded, function, None)
    if not callable(made):
        raise ModelError(f"model {file.origin}: {module} has no function {function}")
    return made


def _found(reference: str) -> tuple[str, Path]:
    """The folder a module's topmost package lies in, and the module's file; nothing is run."""
    if not is_function(reference):
        raise ConfigError(f"model {reference!r}: must be package.module:function")
    parts = reference.partition(":")[0].split(".")
    here = os.getcwd()
    spec = find_spec(parts[0]) or _spec(parts[0], [here])
    if spec is None:
        raise ConfigError(
            f"model {reference!r}: no module {parts[0]!r} is installed or lies in {here}"
        )
    first = spec.origin or next(iter(spec.submodule_search_locations or [here]))
    folder = os.path.dirname(first)
    if spec.origin is not None and spec.submodule_search_locations is not None:
        folder = os.path.dirname(folder)
    for depth in range(1, len(parts)):
        name = ".".join(parts[: depth + 1])
        spec = _spec(name, list(spec.submodule_search_locations or []))
        if spec is None:
            raise ConfigError(f"model {reference!r}: there is no module {name!r} in {folder}")
    if not spec.has_location or spec.origin is None:
        raise ConfigError(f"model {reference!r}: {'.'.join(parts)} is no file of Python code")
    return os.path.abspath(folder), Path(spec.origin)


def _spec(name: str, path: list[str]) -> ModuleSpec | None:
    return PathFinder.find_spec(name, path)


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}") from error
