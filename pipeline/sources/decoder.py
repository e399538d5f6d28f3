"""Decoding one stream of packets, with the damage counted and the size of pictures bounded."""

from __future__ import annotations

import av
from av.video.stream import VideoStream

from pipeline.errors import SourceOpenError

DEFAULT_MAX_PIXELS = 8192 * 4320


class StreamDecoder:
    """Decodes the packets of one video stream.

    With one thread each packet is decoded when it is handed over, so that a damaged one costs no
    other picture and damaged pictures look the same in every run. With more threads pictures come
    faster and later, and up to `threads - 1` may be lost where damage meets the end.

    Args:
        stream: of an open container.
        name: how errors call the source.
        max_pixels: larger pictures are refused, also in the middle.
        threads: of the decoder.

    Raises:
        SourceOpenError: there is no decoder, or it refuses the stream.
    """

    def __init__(
        self, stream: VideoStream, *, name: str, max_pixels: int, threads: int = 1
    ) -> None:
        self.decoded = 0
        """Pictures put out."""
        self.damaged = 0
        """Packets that gave no picture, or one with holes patched up by the decoder."""
        self.lost = 0
        """Those that gave no picture."""
        self.refused: SourceOpenError | None = None
        """Set when pictures grow beyond what is allowed; what is inside can still be drained."""
        self._name = name
        self._max_pixels = max_pixels
        context = stream.codec_context
        if context is None:
            raise SourceOpenError(f"{name}: no decoder for its video stream in this FFmpeg")
        context.thread_count = threads
        context.thread_type = "FRAME" if threads > 1 else "SLICE"
        context.options = {"max_pixels": str(max_pixels)}  # it refuses before it allocates
        try:
            context.open(strict=False)
        except av.FFmpegError as error:
            raise SourceOpenError(
                f"{name}: the {context.name} decoder refuses the stream: {error.strerror}"
            ) from error
        self._context = context

    def decode(self, packet: av.Packet[VideoStream]) -> list[av.VideoFrame]:
        """The pictures that are complete with this packet; none when it is damaged."""
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError:
            self.damaged += 1
            self.lost += 1
            self._check_growth()
            return []
        return self._count(frames)

    def _check_growth(self) -> None:
        """See whether the decoder has read a new size and refused to allocate it."""
        try:
            check_size(
                (self._context.height, self._context.width), self._max_pixels, name=self._name
            )
        except SourceOpenError as error:
            self.refused = error

    def drain(self) -> list[av.VideoFrame]:
        """The pictures still inside, at the end."""
        try:
            frames = self._context.decode(None)
        except av.FFmpegError:
            return []
        return self._count(frames)

    def _count(self, frames: list[av.VideoFrame]) -> list[av.VideoFrame]:
        self.decoded += len(frames)
        self.damaged += sum(frame.is_corrupt for frame in frames)
        return frames


def check_size(size: tuple[int, int], max_pixels: int, *, name: str) -> None:
    """Refuse pictures of more than `max_pixels`.

    Raises:
        SourceOpenError: with both numbers.
    """
    height, width = size
    if height * width > max_pixels:
        raise SourceOpenError(
            f"{name}: pictures of {width}x{height} = {height * width} pixels are more than "
            f"max_pixels = {max_pixels}; raise it if you trust the source"
        )
