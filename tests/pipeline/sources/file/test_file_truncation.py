"""A container that writes down its sizes betrays a file that was cut off."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from pipeline.sources.file.truncation import is_cut_off


def box(kind: bytes, content: bytes = b"", *, large: bool = False) -> bytes:
    if large:
        return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content
    return struct.pack(">I4s", 8 + len(content), kind) + content


MP4 = box(b"ftyp", b"isom") + box(b"moov", bytes(100)) + box(b"mdat", bytes(500), large=True)
AVI = b"RIFF" + struct.pack("<I", 1000) + bytes(1000)
HEADER = b"\x1a\x45\xdf\xa3\x84" + bytes(4)
MATROSKA = HEADER + b"\x18\x53\x80\x67" + b"\x43\xe8" + bytes(1000)
UNKNOWN = HEADER + b"\x18\x53\x80\x67" + b"\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(1000)

PALETTE = bytes(6)
GIF_PICTURE = b"," + bytes(8) + b"\x80" + PALETTE + b"\x02\x05" + bytes(range(5)) + b"\0"
GIF = b"GIF89a" + bytes(4) + b"\x80\0\0" + PALETTE + b"!\xf9\x04" + bytes(4) + b"\0" + GIF_PICTURE
ASF = (
    bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
    + struct.pack("<Q", 100)
    + bytes(76)
    + bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
    + struct.pack("<Q", 1000)
    + bytes(976)
)


@pytest.mark.parametrize(
    ("content", "cut"),
    [
        pytest.param(MP4, False, id="mp4"),
        pytest.param(MP4[:-1], True, id="mp4-a-byte-short"),
        pytest.param(MP4[:400], True, id="mp4-half"),
        pytest.param(MP4 + b"junk", False, id="mp4-and-a-little-more"),
        pytest.param(MP4 + bytes(20), False, id="mp4-and-zeros"),
        pytest.param(MP4 + struct.pack(">I4s", 0, b"mdat") + bytes(9), False, id="mp4-to-the-end"),
        pytest.param(AVI, False, id="avi"),
        pytest.param(AVI[:-1], True, id="avi-a-byte-short"),
        pytest.param(AVI + AVI, False, id="avi-of-two-chunks"),
        pytest.param(MATROSKA, False, id="matroska"),
        pytest.param(MATROSKA[:-1], True, id="matroska-a-byte-short"),
        pytest.param(UNKNOWN, False, id="matroska-still-recorded"),
        pytest.param(GIF + b";", False, id="gif"),
        pytest.param(GIF, False, id="gif-without-an-end"),
        pytest.param(GIF + b";" + bytes(99), False, id="gif-and-zeros"),
        pytest.param(GIF[:-1], True, id="gif-a-byte-short"),
        pytest.param(GIF[:-4], True, id="gif-in-a-block"),
        pytest.param(GIF[:-20], True, id="gif-in-a-picture-s-place"),
        pytest.param(GIF[:12], True, id="gif-of-twelve-bytes"),
        pytest.param(ASF, False, id="asf"),
        pytest.param(ASF + bytes(99), False, id="asf-and-an-index"),
        pytest.param(ASF[:-1], True, id="asf-a-byte-short"),
        pytest.param(b"\x47" * 1000, False, id="transport-stream"),
        pytest.param(b"", False, id="nothing"),
        pytest.param(HEADER[:5], False, id="matroska-of-five-bytes"),
    ],
)
def test_sizes_are_compared_with_what_is_there(tmp_path: Path, content: bytes, cut: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert is_cut_off(path) is cut


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.webm", "a.mov"])
def test_what_muxers_write_is_whole_until_a_byte_is_missing(clips: Any, name: str) -> None:
    codec = "libvpx" if name.endswith("webm") else "libx264"
    path = clips.write(name, frames=3, codec=codec)
    assert not is_cut_off(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert is_cut_off(path)
