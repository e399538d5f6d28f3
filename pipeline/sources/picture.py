"""From a decoded PyAV frame to the pixels of a `Frame`: BGR, 8 bit, upright, contiguous.

Depth, matrix and range are left to the filter that the `ffmpeg` command puts there, with its
defaults, so that both give the same bytes: pictures are taken for progressive, whatever their flag
says, and where exactly subsampled colour lies is not looked at, whatever the stream says. Alpha is
dropped, HDR is not tone-mapped.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from av import FFmpegError, VideoFrame
from av.filter import Graph
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.buffer import Buffer


_ANY_TIME = Fraction(1, 90_000)
_MATRICES = {
    3: "reserved",
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "SMPTE ST 2085",
    12: "derived from its primaries",
    13: "derived from its primaries, with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
"""Of ITU-T H.273, those that swscale cannot convert."""


class UnconvertibleError(ValueError):
    """A picture was decoded, but there is no way to BGR for it; the message says why."""


class Crop(NamedTuple):
    """Pixels to leave out at each edge of a stored picture."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def of(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns that are left of a picture of (height, width); all, if none would be."""
        height, width = size
        if self.top + self.bottom >= height or self.left + self.right >= width:
            return slice(0, height), slice(0, width)
        return slice(self.top, height - self.bottom), slice(self.left, width - self.right)


WHOLE = Crop()


class Orientation(NamedTuple):
    """How stored pixels become the picture shown: transpose first, then mirror."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @property
    def upright(self) -> bool:
        """True when nothing has to be done."""
        return not any(self)


UPRIGHT = Orientation()


def orientation_of(matrix: NDArray[np.int32]) -> Orientation:
    """The nearest of the eight right-angled orientations.

    Args:
        matrix: FFmpeg's display matrix, 9 fixed-point numbers: a stored point (x, y) is shown at
            (m0 x + m3 y, m1 x + m4 y).
    """
    m0, m1, m3, m4 = (int(matrix[i]) for i in (0, 1, 3, 4))
    if abs(m0) + abs(m4) >= abs(m1) + abs(m3):
        return Orientation(False, m0 < 0, m4 < 0)
    return Orientation(True, m3 < 0, m1 < 0)


def upright(image: NDArray[np.uint8], orientation: Orientation) -> NDArray[np.uint8]:
    """The picture as it is shown, contiguous; (H, W, 3), sides swapped where it is transposed."""
    if orientation.upright:
        return image
    import cv2

    if orientation.transpose:
        image = np.asarray(cv2.transpose(image), np.uint8)
    flip = {(True, True): -1, (True, False): 1, (False, True): 0}
    code = flip.get((orientation.mirror_x, orientation.mirror_y))
    return image if code is None else np.asarray(cv2.flip(image, code), np.uint8)


class Scaler:
    """The command's own filter for pictures of one size and format; built anew when they change."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._takes: tuple[object, ...] = ()

    def to_bgr(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The pixels as they are stored, uint8 (H, W, 3).

        Raises:
            UnconvertibleError: there is no way to BGR from its colours.
        """
        takes = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        try:
            if self._graph is None or takes != self._takes:
                self._graph, self._takes = _graph_for(frame), takes
            self._graph.vpush(frame)
            return np.asarray(self._graph.vpull().to_ndarray(), np.uint8)
        except (FFmpegError, ValueError) as error:
            self._graph = None  # it would not take another one
            raise UnconvertibleError(_why_not(frame, error)) from error


def _graph_for(frame: VideoFrame) -> Graph:
    graph = Graph()
    graph.threads = 1
    steps = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=_ANY_TIME
        ),
        graph.add("scale", "flags=bicubic"),
        graph.add("format", "bgr24"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*steps).configure()
    return graph


class PictureConverter:
    """Converts the frames of one stream; keeps the scaler's tables and the orientation.

    Args:
        crop: the edges of a stored picture that its container leaves out.

    The display matrix is read once for each size and rotation, not for each frame: PyAV ties a
    frame whose side data was looked at into a reference cycle, and its megabytes would stay until
    the garbage collector comes by.
    """

    def __init__(self, crop: Crop = WHOLE) -> None:
        self._crop = crop
        self._scaler = Scaler()
        self._seen: tuple[int, int, int] | None = None
        self._orientation = UPRIGHT

    def shown_size(self, frame: VideoFrame) -> tuple[int, int]:
        """(height, width) of the picture `convert` gives."""
        rows, columns = self._crop.of((frame.height, frame.width))
        height, width = rows.stop - rows.start, columns.stop - columns.start
        return (width, height) if self._orientation_of(frame).transpose else (height, width)

    def convert(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The pixels of `frame`, uint8 (H, W, 3) BGR, C-contiguous, cropped and rotated as shown.

        Raises:
            UnconvertibleError: swscale cannot read its colours.
        """
        # rows are padded unless the width is a multiple of 16; a view of the rest would not do
        shown = self._scaler.to_bgr(frame)[self._crop.of((frame.height, frame.width))]
        image = np.ascontiguousarray(shown, np.uint8)
        return upright(image, self._orientation_of(frame))

    def _orientation_of(self, frame: VideoFrame) -> Orientation:
        seen = (frame.rotation, frame.width, frame.height)
        if seen != self._seen:
            matrix = cast("Buffer | None", frame.side_data.get("DISPLAYMATRIX"))
            self._orientation = (
                UPRIGHT
                if matrix is None
                else orientation_of(np.frombuffer(bytes(matrix), np.int32))
            )
            self._seen = seen
        return self._orientation


def _why_not(frame: VideoFrame, error: Exception) -> str:
    matrix = int(frame.colorspace)
    if name := _MATRICES.get(matrix):
        return f"its colour matrix {matrix} ({name}) cannot be converted to RGB; re-encode it"
    reason = getattr(error, "strerror", None) or error
    return f"its pixel format {frame.format.name} cannot be converted to RGB: {reason}"
