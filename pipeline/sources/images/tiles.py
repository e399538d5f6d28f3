"""The pictures of a HEIF file as pixels: single, put together from tiles, or a film."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipeline.errors import SourceOpenError
from pipeline.sources.decoder import StreamDecoder
from pipeline.sources.images.header import PictureHeader
from pipeline.sources.images.heif import Contents, Item, is_cut_off, read_contents, read_grid
from pipeline.sources.images.still import UNTIMED_S, Still, cut_film, too_large
from pipeline.sources.picture import PictureConverter, Scaler, UnconvertibleError

_DAMAGED = (av.FFmpegError, SourceOpenError, struct.error, IndexError, KeyError, ValueError)


class _Refused(Exception):
    """Why a picture cannot be had, in a few words."""


def read_heif(data: bytes | bytearray, max_pixels: int) -> Iterator[Still]:
    """Every picture of the file: of a film each, else each item that is a picture of its own."""
    try:
        contents = read_contents(data)
        refused = {n: _objection(data, contents, n, max_pixels) for n in contents.pictures()}
        if refused and all(refused.values()):  # FFmpeg would refuse the file, without a reason
            yield from (Still(None, reason) for reason in refused.values())
            return
        options = {"max_pixels": str(max_pixels)}
        with av.open(io.BytesIO(data), "r", format="mov", options=options) as container:
            film = next((s for s in container.streams.video if s.frames > 1), None)
            if film is not None:
                yield from _film(container, film, max_pixels)
                return
            items = _Items(data, contents, container, max_pixels)
            for number, reason in refused.items():
                yield Still(None, reason) if reason else items.still(number)
    except _DAMAGED:
        yield Still(None, "is truncated" if is_cut_off(data) else "cannot be decoded")


def _objection(data: bytes | bytearray, contents: Contents, number: int, most: int) -> str:
    """Why a picture is not even tried; empty where nothing speaks against it."""
    item = contents.items[number]
    parts = [item, *(contents.items[part] for part in item.parts)]
    if any(at + length > len(data) for part in parts for at, length in part.extents):
        return "is truncated"
    if item.kind in (b"iovl", b"iden"):
        return f"is put together in a way that is not supported ({item.kind.decode()})"
    sizes = [size for part in parts if (size := part.size) is not None]
    if item.kind == b"grid":
        grid = read_grid(data, item)
        sizes.append((grid.width, grid.height))
        if len(item.parts) != grid.rows * grid.columns:
            return f"has {len(item.parts)} tiles for {grid.rows}x{grid.columns} places"
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    return too_large(width, height).reason if width * height > most else ""


def look_at_heif(data: bytes | bytearray) -> PictureHeader | None:
    """The size of its pictures as stored, and how many there are in a film."""
    try:
        contents = read_contents(data)
        with av.open(io.BytesIO(data), "r", format="mov") as container:
            film = next((s for s in container.streams.video if s.frames > 1), None)
            if film is not None:
                return PictureHeader("heif", film.width, film.height, moving=film.frames)
            item = contents.items[contents.primary]
            if item.kind == b"grid":
                return PictureHeader("heif", *read_grid(data, item)[2:])
            stream = next(s for s in container.streams.video if s.id == contents.primary)
            return PictureHeader("heif", stream.width, stream.height)
    except (*_DAMAGED, StopIteration):
        return None


def _film(container: InputContainer, stream: VideoStream, max_pixels: int) -> Iterator[Still]:
    if stream.width * stream.height > max_pixels:
        yield too_large(stream.width, stream.height)
        return
    decoder = StreamDecoder(stream, name="film", max_pixels=max_pixels)
    convert = PictureConverter().convert
    base = stream.time_base or 1
    for packet in container.demux(stream):
        for frame in decoder.decode(packet) if packet.size else decoder.drain():
            yield Still(convert(frame), shown_s=float((frame.duration or 0) * base) or UNTIMED_S)
    if decoder.decoded < stream.frames:
        yield cut_film(decoder.decoded, stream.frames)


class _Items:
    """Decodes the items of one file."""

    def __init__(
        self, data: bytes | bytearray, contents: Contents, container: InputContainer, most: int
    ) -> None:
        self._data = data
        self._contents = contents
        self._most = most
        self._streams = {stream.id: stream for stream in container.streams.video}
        self._packets: dict[int, Any] = {
            packet.stream.id: packet for packet in container.demux() if packet.size
        }
        self._scaler = Scaler()

    def still(self, number: int) -> Still:
        item = self._contents.items[number]
        try:
            image = self._composed(item) if item.kind == b"grid" else self._decoded(number)
            return Still(_shown(image, item))
        except _Refused as refused:
            return Still(None, str(refused))
        except UnconvertibleError as error:
            return Still(None, f"cannot be shown: {error}")
        except _DAMAGED:
            return Still(None, "cannot be decoded")

    def _composed(self, item: Item) -> NDArray[np.uint8]:
        grid = read_grid(self._data, item)
        whole = np.empty((grid.height, grid.width, 3), np.uint8)
        first = self._decoded(item.parts[0])
        height, width = first.shape[:2]
        if height * grid.rows < grid.height or width * grid.columns < grid.width:
            raise _Refused("has tiles that do not fill it")
        for place, part in enumerate(item.parts):
            tile = first if place == 0 else self._decoded(part)
            if tile.shape != first.shape:
                raise _Refused("has tiles of different sizes")
            y, x = place // grid.columns * height, place % grid.columns * width
            room = whole[y : y + height, x : x + width]
            room[:] = tile[: room.shape[0], : room.shape[1]]
        return whole

    def _decoded(self, number: int) -> NDArray[np.uint8]:
        """One coded item as it is stored."""
        decoder = StreamDecoder(self._streams[number], name="item", max_pixels=self._most)
        frames = [*decoder.decode(self._packets[number]), *decoder.drain()]
        if not frames or decoder.damaged:
            raise _Refused("cannot be decoded")
        return np.ascontiguousarray(self._scaler.to_bgr(frames[0]))


def _shown(image: NDArray[np.uint8], item: Item) -> NDArray[np.uint8]:
    """Cropped, turned and mirrored, in the order the file says."""
    for kind, value in item.properties:
        if kind == b"irot":
            turns = {
                1: cv2.ROTATE_90_COUNTERCLOCKWISE,
                2: cv2.ROTATE_180,
                3: cv2.ROTATE_90_CLOCKWISE,
            }
            if value[0] & 3:
                image = np.asarray(cv2.rotate(image, turns[value[0] & 3]), np.uint8)
        elif kind == b"imir":
            image = np.asarray(cv2.flip(image, value[0] & 1), np.uint8)
        elif kind == b"clap":
            image = _cropped(image, struct.unpack(">IIIIiIiI", value[:32]))
    return np.ascontiguousarray(image)


def _cropped(image: NDArray[np.uint8], clap: tuple[int, ...]) -> NDArray[np.uint8]:
    """Width, height and the distance of the middles, each as a fraction."""
    wide, high, right, down = (clap[i] / clap[i + 1] for i in (0, 2, 4, 6))
    x = round((image.shape[1] - wide) / 2 + right)
    y = round((image.shape[0] - high) / 2 + down)
    cropped = image[max(y, 0) : y + round(high), max(x, 0) : x + round(wide)]
    if not cropped.size:
        raise _Refused("is cropped to nothing")
    return cropped
