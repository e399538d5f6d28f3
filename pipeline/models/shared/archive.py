"""The parts of a zip archive as torch writes it: where each lies in the file, nothing unpacked."""

from __future__ import annotations

import os
import struct
import zipfile
from typing import BinaryIO, NamedTuple

_MAX_DIRECTORY_BYTES = 4_000_000
"""Some 100 bytes a part; a state dict with its optimiser's has 2,000."""
_END, _END_BYTES, _MAX_COMMENT_BYTES = b"PK\5\6", 22, 65_535
_END64, _END64_BYTES, _LOCATOR_BYTES = b"PK\6\6", 56, 20
_LOCAL_BYTES = 30
INDEX = "/data.pkl"
"""How the part ends that says which tensors there are."""


class Part(NamedTuple):
    """One part's bytes in the file."""

    start: int
    size: int


class OtherArchive(ValueError):
    """It is whole and of something else; the text says of what, and what to do."""


def state_dict_parts(file: BinaryIO) -> dict[str, Part]:
    """The parts by name, of an archive `torch.save` has written.

    Read are the directory and each part's header, whatever the file's size.

    Raises:
        OtherArchive: it is one of something else, or packed: larger when it is read than it is.
        ValueError: it is cut off, or its parts are not apart from one another.
    """
    if _directory_bytes(file) > _MAX_DIRECTORY_BYTES:
        raise ValueError("its directory is too large")
    try:
        with zipfile.ZipFile(file) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    except (zipfile.BadZipFile, OSError, NotImplementedError, struct.error) as error:
        raise ValueError(str(error)) from error
    parts: dict[str, Part] = {}
    free = 0
    _refuse_other([info.filename for info in infos])
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise OtherArchive("a packed archive, which torch.save does not write")
        part = Part(_start(file, info.header_offset), info.file_size)
        if info.header_offset < free or info.filename in parts:
            raise ValueError("its parts lie on one another")
        free = part.start + part.size
        parts[info.filename] = part
    if free > file.seek(0, os.SEEK_END):
        raise ValueError("a part ends behind the file")
    return parts


def _refuse_other(names: list[str]) -> None:
    """Refuse what does not hold the one pickle that says which tensors there are."""
    if any(name.endswith(("/constants.pkl", "/model.json")) for name in names):
        raise OtherArchive("a program of torch.jit or torch.export; save `model.state_dict()`")
    if sum(name.endswith(INDEX) for name in names) == 1:
        return
    inside = [name for name in names if name.endswith((".pth", ".pt", ".safetensors"))]
    if inside:
        raise OtherArchive(f"a zip archive; unpack it and name {inside[0][:80]}, which is in it")
    first = ", ".join(name[:40] for name in names[:3]) + (", ..." if len(names) > 3 else "")
    raise OtherArchive(f"a zip archive of {first}" if names else "an empty zip archive")


def _directory_bytes(file: BinaryIO) -> int:
    """What `zipfile` would read to make a list of; looked up where it looks it up."""
    size = file.seek(0, os.SEEK_END)
    reach = _MAX_COMMENT_BYTES + _END_BYTES + _LOCATOR_BYTES + _END64_BYTES
    file.seek(max(0, size - reach))
    tail = file.read(reach)
    plain = tail[-_END_BYTES:].startswith(_END) and tail.endswith(b"\0\0")
    at = len(tail) - _END_BYTES if plain else tail.rfind(_END)
    if at < 0 or at + _END_BYTES > len(tail):
        raise ValueError("it has no end")
    found = struct.unpack_from("<L", tail, at + 12)[0]
    at64 = at - _LOCATOR_BYTES - _END64_BYTES
    if at64 >= 0 and tail.startswith(_END64, at64):
        found = max(found % 0xFFFFFFFF, struct.unpack_from("<Q", tail, at64 + 40)[0])
    return int(found)


def _start(file: BinaryIO, header: int) -> int:
    file.seek(header)
    local = file.read(_LOCAL_BYTES)
    if len(local) < _LOCAL_BYTES or not local.startswith(b"PK\3\4"):
        raise ValueError("a part has no header")
    name, extra = struct.unpack_from("<HH", local, 26)
    return header + _LOCAL_BYTES + int(name) + int(extra)
