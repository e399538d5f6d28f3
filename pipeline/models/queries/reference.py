"""Where the weights of a transformers model lie: a folder, or a name on the hub and its cache.

The reference travels to the workers, not the bytes: a folder is read where the worker is, a name
from that machine's cache. What they find must be what the run was started with, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError
from pipeline.models.queries.labels import classes_of
from pipeline.models.shared.files import WeightsFile
from pipeline.paths import expanded
from pipeline.reading import open_regular, read_small

KINDS = {
    "rf_detr": "rfdetr",
    "eomt": "eomt",
    "eomt_dinov3": "eomt",
    "mask2former": "mask2former",
    "maskformer": "maskformer",
    "oneformer": "oneformer",
}
"""Our name by `model_type` of config.json."""
FETCHED = ["*.json", "*.txt", "*.safetensors"]
"""Of a name on the hub; no pickle among them."""
_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_MAX_CONFIG_BYTES = 4_000_000
_BLOCK = 1 << 20


def settle(reference: str) -> tuple[str, bool]:
    """A folder by its whole path, and whether it is one; a name on the hub is fetched later."""
    path = expanded(reference)
    return (os.path.abspath(path), True) if os.path.exists(path) else (reference, False)


def read(name: str, reference: str) -> WeightsFile:
    """Find or fetch what a reference leads to, and what it says of itself.

    Raises:
        ModelError: it leads nowhere, to another model, or cannot be fetched.
    """
    folder = folder_of(reference)
    config = config_of(folder, reference)
    _check_kind(name, config, reference)
    labels = classes_of(config, reference).labels
    return WeightsFile(reference, b"", digest_of(folder, reference), {}, dict(labels))


def about(name: str, reference: str) -> WeightsFile | None:
    """What is said of it on this machine's disk; None where nothing is yet.

    Raises:
        ModelError: it leads nowhere, or to another model.
    """
    folder = _here(reference)
    if folder is None:
        return None
    config = config_of(folder, reference)
    _check_kind(name, config, reference)
    return WeightsFile(reference, b"", "", {}, dict(classes_of(config, reference).labels))


def recognise(path: str) -> str | None:
    """Which model a folder is of."""
    folder = Path(expanded(path))
    if not (folder / "config.json").is_file():
        return None
    return KINDS.get(str(config_of(folder, path).get("model_type")))


def folder_of(reference: str) -> Path:
    """The folder a reference leads to, fetched where it is not here.

    Raises:
        ModelError: it leads nowhere, or cannot be fetched.
    """
    return _here(reference) or _fetched(reference)


def config_of(folder: Path, reference: str) -> dict[str, Any]:
    """config.json.

    Raises:
        ModelError: there is none, or it is no JSON object.
    """
    return json_in(folder, "config.json", reference)


def json_in(folder: Path, file: str, reference: str) -> dict[str, Any]:
    """A JSON object in the folder.

    Raises:
        ModelError: there is none.
    """
    try:
        value = json.loads(read_small(folder / file, max_bytes=_MAX_CONFIG_BYTES))
    except OSError as error:
        raise ModelError(
            f"weights {reference}: cannot read {file} in {folder}: {error.strerror}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"weights {reference}: {file} is no JSON") from error
    if not isinstance(value, dict):
        raise ModelError(f"weights {reference}: {file} is no JSON object")
    return value


def digest_of(folder: Path, reference: str) -> str:
    """SHA-256 over the names and bytes of what results depend on.

    Raises:
        ModelError: there are no weights, or they cannot be read.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = any(folder.glob("*.bin"))
        hint = "; .bin files are pickles, which are not read" if pickles else ""
        raise ModelError(f"weights {reference}: no .safetensors file in {folder}{hint}")
    whole = hashlib.sha256()
    settings = ("config.json", "preprocessor_config.json", "processor_config.json")
    for path in (*(folder / name for name in settings), *files):
        if not path.is_file():
            continue
        whole.update(path.name.encode() + b"\0")
        try:
            with open_regular(path.resolve()) as file:
                while block := file.read(_BLOCK):
                    whole.update(block)
        except OSError as error:
            raise ModelError(f"weights {reference}: {path}: {error.strerror}") from error
    return whole.hexdigest()


def _here(reference: str) -> Path | None:
    """The folder on this machine's disk; None: of a name that was not fetched yet."""
    folder = Path(expanded(reference))
    if folder.is_dir():
        return folder
    if folder.exists() or not _NAME.fullmatch(reference):
        found = "is no folder" if folder.exists() else "no such folder"
        raise ModelError(
            f"weights {reference}: {found}; expected a folder that transformers has saved, or a "
            "name on the hub such as OWNER/NAME"
        )
    from huggingface_hub import snapshot_download

    repo, _, revision = reference.partition("@")
    try:
        found_at = snapshot_download(
            repo, revision=revision or None, allow_patterns=FETCHED, local_files_only=True
        )
    except (OSError, ValueError):  # it is not in the cache
        return None
    return Path(found_at) if Path(found_at, "config.json").exists() else None


def _fetched(reference: str) -> Path:
    from huggingface_hub import constants, snapshot_download

    where = constants.HF_HUB_CACHE
    if constants.HF_HUB_OFFLINE:
        raise ModelError(
            f"weights {reference}: not in the cache {where}, and HF_HUB_OFFLINE forbids to fetch "
            "them; fetch them once without it, or give a folder"
        )
    repo, _, revision = reference.partition("@")
    try:
        return Path(
            snapshot_download(
                repo, revision=revision or None, allow_patterns=FETCHED, etag_timeout=10
            )
        )
    except Exception as error:  # the hub's client and what it uses have many of their own
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise ModelError(
            f"weights {reference}: not in the cache {os.path.realpath(where)}, and cannot be "
            f"fetched: {reason}; check the name and the network, or give a folder"
        ) from error


def _check_kind(name: str, config: dict[str, Any], reference: str) -> None:
    kind = str(config.get("model_type"))
    wanted = name.partition("-")[0]
    if KINDS.get(kind) == wanted:
        return
    if kind in KINDS:
        raise ModelError(
            f"weights {reference}: not of {name}: config.json says {kind}; use --model "
            f"{KINDS[kind]}:{reference}"
        )
    raise ModelError(
        f"weights {reference}: config.json says {kind[:60]!r}, which is no model of instances "
        f"known here; known are {', '.join(sorted(KINDS))}"
    )
