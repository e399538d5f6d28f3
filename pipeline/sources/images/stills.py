"""The pictures of one picture file, one after another: most hold one, some a stack or a film.

A file is read whole (up to `MAX_BYTES`); of its pictures never more than `WINDOW_BYTES` are
decoded at once, or one, if that is larger.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.reading import open_regular
from pipeline.sources.images.header import PictureHeader, netpbm_at, png_chunks, read_header
from pipeline.sources.images.heif import is_heif
from pipeline.sources.images.mpo import more_pictures
from pipeline.sources.images.still import UNTIMED_S, Still, cut_film, too_large
from pipeline.sources.images.tiff import begin_at, directories

MAX_BYTES = 1 << 30
WINDOW_BYTES = 1 << 27

# what it prints of damaged files is said in our words
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_stills(path: Path, max_pixels: int) -> Iterator[Still]:
    """Every picture of a file.

    Args:
        path: of the file.
        max_pixels: a picture that claims more is not decoded.
    """
    try:
        data = _read(path)
    except OSError as error:
        reason = error.strerror or "unknown"
        yield Still(None, f"cannot be read: {reason[0].lower()}{reason[1:]}")
        return
    if is_heif(data):
        from pipeline.sources.images.tiles import read_heif  # most pictures need no PyAV

        yield from read_heif(data, max_pixels)
        return
    header = read_header(data)
    if header is None:
        yield Still(None, "is not a picture" if data else "is empty")
    elif header.pixels > max_pixels and header.kind != "tiff":
        yield too_large(header.width, header.height)
    elif header.kind == "png" and not header.whole and not header.moving:
        yield Still(None, "is truncated")
    elif header.moving:
        yield from _film(data, header)
    elif header.kind == "tiff":
        yield from _stack(data, max_pixels)
    elif header.kind == "netpbm":
        yield from _row(data, max_pixels)
    else:
        yield _decoded(data, header)
        if header.kind == "jpeg":
            yield from _behind(data, max_pixels)


def look_at(path: Path, *, count: bool) -> tuple[PictureHeader, int] | None:
    """The header of a file, and the number of its pictures if they are to be counted, else 1."""
    try:
        data = _read(path)
    except OSError:
        return None
    header = _look(data)
    if header is None:
        return None
    if count and header.kind == "tiff":
        return header, sum(1 for _ in directories(data))
    if count and header.kind == "jpeg":
        return header, 1 + len(more_pictures(data))
    return header, header.moving or 1


def _look(data: bytearray) -> PictureHeader | None:
    if not is_heif(data):
        return read_header(data)
    from pipeline.sources.images.tiles import look_at_heif

    return look_at_heif(data)


def _read(path: Path) -> bytearray:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"larger than {MAX_BYTES >> 20} MiB")
        data = bytearray(size)
        del data[file.readinto(data) :]
        return data


def _decoded(data: bytearray | memoryview, header: PictureHeader) -> Still:
    how = cv2.IMREAD_COLOR | (cv2.IMREAD_ANYDEPTH if header.white else 0)
    try:  # applies EXIF orientation, gives 8 bit BGR
        image = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        image = None
    if image is None:
        return Still(None, "cannot be decoded" if header.whole else "is truncated")
    if header.white:
        image = np.clip(np.rint(image * (255 / header.white)), 0, 255)
    return Still(np.ascontiguousarray(image, np.uint8))


def _behind(data: bytearray, max_pixels: int) -> Iterator[Still]:
    """The further pictures of a JPEG of several."""
    for begin, end in more_pictures(data):
        picture = memoryview(data)[begin:end]
        header = read_header(bytes(picture))
        if begin >= len(data):
            yield Still(None, "is truncated")
        elif header is None or header.kind != "jpeg":  # the end it says may lie anywhere
            yield Still(None, "is not a picture")
        elif header.pixels > max_pixels:
            yield too_large(header.width, header.height)
        else:
            yield _decoded(picture, header)


def _stack(data: bytearray, max_pixels: int) -> Iterator[Still]:
    """A TIFF: each directory made the first in turn, so that nothing else is decoded."""
    for directory in directories(data):
        if directory is None:
            yield Still(None, "is truncated")
        elif directory.width * directory.height > max_pixels:
            yield too_large(directory.width, directory.height)
        else:
            begin_at(data, directory)
            yield _decoded(data, PictureHeader("tiff", directory.width, directory.height))


def _row(data: bytearray, max_pixels: int) -> Iterator[Still]:
    """Netpbm: the raw forms may stand one behind the other."""
    at: int | None = 0
    while at is not None and (found := netpbm_at(data, at)):
        header, end = found
        header = header._replace(whole=end is None or end <= len(data))
        if header.pixels > max_pixels:
            yield too_large(header.width, header.height)
        else:
            yield _decoded(memoryview(data)[at:end], header)
        at = end if end and bytes(data[end : end + 2]) in (b"P4", b"P5", b"P6") else None


def _film(data: bytearray, header: PictureHeader) -> Iterator[Still]:
    """An animation, a window of pictures at a time; one that lies further in is sought anew."""
    if header.kind == "png":  # what is cut off may claim gigabytes
        del data[max(end for _, _, end in png_chunks(data)) :]
    window = max(1, WINDOW_BYTES // max(header.pixels * 4, 1))
    encoded = np.frombuffer(data, np.uint8)
    count = 0
    while count < header.moving:
        try:
            _, film = cv2.imdecodeanimation(encoded, count, min(window, header.moving - count))
        except cv2.error:
            break
        if not film.frames:
            break
        for image, shown_ms in zip(film.frames, film.durations, strict=True):
            yield Still(_bgr(image), shown_s=float(shown_ms) / 1000 or UNTIMED_S)
        count += len(film.frames)
    if count < header.moving:
        yield cut_film(count, header.moving)


def _bgr(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Eight bit, three channels, alpha dropped."""
    if image.dtype == np.uint16:
        image = image >> 8
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return np.ascontiguousarray(image[..., :3], np.uint8)
