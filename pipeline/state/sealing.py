"""A JSON object with a checksum at its end: a byte that was changed is not believed."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

_SEAL = re.compile(rb',"crc":"([0-9a-f]{8})"\}\s*\Z')


def sealed(text: str) -> bytes:
    """The text of a JSON object that is not empty, with the checksum of it as its last value."""
    data = text.encode()
    return data[:-1] + f',"crc":"{zlib.crc32(data):08x}"}}'.encode()


def opened(data: bytes) -> Any:
    """The values of an object; without a checksum it is of an earlier version, or no object.

    Raises:
        ValueError: it is no JSON, or a byte of it was changed.
    """
    values = json.loads(data)
    if (seal := _SEAL.search(data)) is not None:
        if zlib.crc32(data[: seal.start()] + b"}") != int(seal[1], 16):
            raise ValueError("its checksum is wrong, bytes of it were changed")
        values.pop("crc")
    return values
