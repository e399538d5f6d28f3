"""How a record travels: as JSON, as JSON compressed with zstd, or as MessagePack.

All three hold the same record, number by number. A first byte tells them apart, so that whoever
reads need not be told.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

EXTRA = "encodings"
"""Of the package: what those need that are not JSON."""
LIMIT_BYTES = 256 << 20
"""No record is larger once it is decompressed."""
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Encoding:
    """One of the forms."""

    media_type: str
    pack: Callable[[bytes], bytes]
    """From JSON."""
    needs: str | None = None
    """A module that only those have who installed the extra."""
    coding: str | None = None
    """What the media type is compressed with, as HTTP calls it."""

    @property
    def headers(self) -> dict[str, str]:
        """What a message says of its form beside; JSON goes without saying."""
        if self is JSON:
            return {}
        coded = {} if self.coding is None else {"Content-Encoding": self.coding}
        return {"Content-Type": self.media_type, **coded}


def _same(body: bytes) -> bytes:
    return body


def _compressed(body: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(body)


def _msgpack(body: bytes) -> bytes:
    import msgpack

    packed: bytes = msgpack.packb(json.loads(body))
    return packed


JSON = Encoding("application/json", _same)
ENCODINGS = {
    "json": JSON,
    "zstd": Encoding("application/json", _compressed, "zstandard", "zstd"),
    "msgpack": Encoding("application/vnd.msgpack", _msgpack, "msgpack"),
}
"""By the name that a sink's URL has for them."""


def decoded(body: bytes) -> Any:
    """What a message holds, in whichever form.

    Raises:
        ValueError: it is none of them, or damaged.
        ImportError: the extra is not installed.
    """
    if body.startswith(_ZSTD):
        import zstandard

        try:
            if (size := zstandard.frame_content_size(body)) > LIMIT_BYTES:
                raise ValueError(f"{size} bytes once decompressed, at most {LIMIT_BYTES}")
            body = zstandard.ZstdDecompressor().decompress(body, max_output_size=LIMIT_BYTES)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
    if not body or body[0] < _FIRST_MAP:
        return json.loads(body)
    import msgpack

    try:
        return msgpack.unpackb(body)
    except (msgpack.UnpackException, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


_FIRST_MAP = 0x80
"""With bytes from here on MessagePack's maps begin, and no JSON."""
