"""Which picture of a COCO file a picture is: matched by file name.

Data sets number their pictures as they like; a stream numbers frames from 0. What both know is
the name of the file, whole with its folders, or at least its last part, or that without suffix.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import ConfigError
from pipeline.reading import MAX_JSON_BYTES, read_small

_SHORTER: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: PurePosixPath(name).name,
    lambda name: PurePosixPath(name).stem,
)
"""A name, and what may stand for it where no other picture has the same."""


@dataclass(frozen=True, slots=True)
class ImageIds:
    """The `images` of a COCO file."""

    ids: frozenset[int]
    names: tuple[Mapping[str, int], ...]
    """Ids by name for each of `_SHORTER`; without what several pictures share."""

    @staticmethod
    def of(images: Iterable[Mapping[str, Any]]) -> ImageIds:
        """Of the `images` list.

        Raises:
            KeyError, TypeError, ValueError: it is no such list.
        """
        rows = [(int(row["id"]), row.get("file_name")) for row in images]
        named = [(number, _plain(str(name))) for number, name in rows if name is not None]
        return ImageIds(
            frozenset(number for number, _ in rows),
            tuple(
                _unique((shorter(name), number) for number, name in named) for shorter in _SHORTER
            ),
        )

    def id_of(self, file: str) -> int | None:
        """The id of the picture in this file, None where there is none or it is not certain."""
        for shorter, ids in zip(_SHORTER, self.names, strict=True):
            if (number := ids.get(shorter(_plain(file)))) is not None:
                return number
        return None


def read_image_ids(path: str | Path) -> ImageIds:
    """The `images` of a file.

    Raises:
        ConfigError: it cannot be read, or names no pictures.
    """
    try:
        found = ImageIds.of(json.loads(read_small(path, max_bytes=MAX_JSON_BYTES))["images"])
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: no COCO file with a list of images: {error!r}") from error
    if not found.names[0]:
        raise ConfigError(f"{path}: its images have no file_name to match pictures by")
    return found


def _unique(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    listed = list(pairs)
    times = Counter(name for name, _ in listed)
    return {name: number for name, number in listed if times[name] == 1}


def _plain(name: str) -> str:
    """One spelling of a path: composed letters, no `./` in front."""
    return str(PurePosixPath(unicodedata.normalize("NFC", name)))
