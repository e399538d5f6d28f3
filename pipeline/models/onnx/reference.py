"""An ONNX file as weights: its bytes travel to the workers, its labels lie beside it or inside."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pipeline.errors import ModelError
from pipeline.models.shared.files import MAX_BYTES, WeightsFile, labels_beside
from pipeline.paths import expanded
from pipeline.reading import read_small

_BEGINNING = b"\x08"
"""The version of the format, with which every file of it begins."""


def settle(reference: str) -> tuple[str, bool]:
    """The file by its whole path; it is read before a run starts."""
    return os.path.abspath(expanded(reference)), True


def read(name: str, reference: str) -> WeightsFile:
    """The bytes of a file.

    Raises:
        ModelError: it cannot be read, or is no ONNX file.
    """
    path = Path(expanded(reference))
    try:
        data = read_small(path, max_bytes=MAX_BYTES)
    except FileNotFoundError as error:
        raise ModelError(f"weights {reference}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"weights {reference}: cannot read it: {reason}") from error
    if not data.startswith(_BEGINNING):
        raise ModelError(f"weights {reference}: no ONNX file")
    labels = labels_beside(path, reference)
    return WeightsFile(reference, data, hashlib.sha256(data).hexdigest(), {}, labels)


def about(name: str, reference: str) -> WeightsFile:
    """What lies beside the file; labels inside it are known when it is loaded.

    Raises:
        ModelError: there is no such file, or its labels cannot be read.
    """
    path = Path(expanded(reference))
    if not path.is_file():
        raise ModelError(f"weights {reference}: no such file; check the path")
    return WeightsFile(reference, b"", "", {}, labels_beside(path, reference))


def recognise(path: str) -> str | None:
    """A file that is called so."""
    return "onnx" if path.endswith(".onnx") else None
