"""Whether folders really are shared: each gets a file that every machine must see."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.errors import ConfigError
from workers.scout import MARK


@contextlib.contextmanager
def tokens(folders: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Put a file into each folder for a while.

    Yields:
        Its name, by the folder.

    Raises:
        ConfigError: a folder is missing here, or cannot be written.
    """
    made: dict[str, str] = {}
    try:
        for folder in folders:
            made[folder] = MARK + secrets.token_hex(8)
            try:
                Path(folder, made[folder]).touch(exist_ok=False)
            except OSError as error:
                raise ConfigError(
                    f"cluster.shared_paths: {folder}: {error.strerror}; name folders that all "
                    "machines have, this one included"
                ) from error
        yield made
    finally:
        for folder, name in made.items():
            with contextlib.suppress(OSError):
                Path(folder, name).unlink()
