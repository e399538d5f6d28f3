"""The objects of one long JSON list, one at a time: a file of any length in little memory."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.reading import open_regular

_AT_A_TIME = 1 << 20


def objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no list of objects, or is cut off.
    """
    decode = json.JSONDecoder().raw_decode
    with open_regular(path) as raw, io.TextIOWrapper(raw, "utf-8") as file:
        text = file.read(_AT_A_TIME).lstrip()
        if text[:1] != "[":
            raise ValueError("expected a list, which begins with [")
        at, more = 1, True
        while True:
            at = _skip(text, at)
            if text[at : at + 1] == "]":
                return
            try:
                if text[at : at + 1] != "{":
                    raise json.JSONDecodeError("expected an object", text, at)
                found, at = decode(text, at)
            except json.JSONDecodeError:
                if not more or (at < len(text) and text[at] != "{"):
                    raise
                # as much again as waits: an object of any length is tried a few times only
                fresh = file.read(max(_AT_A_TIME, len(text) - at))
                more = bool(fresh)
                text, at = text[at:] + fresh, 0
                continue
            yield found
            if at > _AT_A_TIME:
                text, at = text[at:], 0


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at
