"""One connection to a live source, from opening to its end: PyAV with deadlines that hold.

Nothing here retries or waits for anything but the network. Whoever reads runs in a thread that
may be left behind; the deadlines see to it that such a thread ends by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from pipeline.clock import Clock
from pipeline.errors import SourceOpenError
from pipeline.sources.decoder import StreamDecoder, check_size
from pipeline.sources.live.arrival import Arrivals, Arrived
from pipeline.sources.live.opening import choose_stream, open_stream, open_web, reason_of
from pipeline.sources.live.skipping import Skipping, Undecoded
from pipeline.sources.network.address import Address
from pipeline.sources.network.body import CAMERA, Body
from pipeline.sources.network.link import FoundRecording, LinkError, Opening
from pipeline.sources.network.web import MAX_AHEAD_BYTES, Web

_NO_TIMES = ("mpjpeg", "mjpeg", "jpeg_pipe", "h264", "hevc", "mpegvideo")
"""Formats without time stamps: FFmpeg invents 25 a second, the arrival is nearer the truth."""
_ENDS_WITHIN_S = 1.0


@dataclass(slots=True)
class Damage:
    """What did not become a picture, or a shown one; written by one thread, read by others."""

    pictures: int = 0


class DamageGate:
    """Holds pictures back from the first damaged one to the next that stands by itself.

    What is decoded in between is built on the damage: smears that a detector takes for things.
    Streams that never send a key picture are let through when there was no damage for a while.
    """

    def __init__(self, *, hold_s: float = 1.0) -> None:
        self._hold_s = hold_s
        self._damaged_at_s: float | None = None

    def admits(self, *, damaged: bool, key: bool, at_s: float) -> bool:
        """Whether the next picture, in the order of decoding, may be shown."""
        if damaged:
            self._damaged_at_s = at_s
            return False
        if self._damaged_at_s is not None:
            if not key and at_s - self._damaged_at_s < self._hold_s:
                return False
            self._damaged_at_s = None
        return True


def pictures(
    address: Address,
    *,
    how: Opening,
    web: Web | None = None,
    ends: bool = False,
    threads: int,
    damage: Damage,
    undecoded: Undecoded,
    stride: int = 1,
    max_fps: float | None = None,
    clock: Clock = time.monotonic,
    wall: Clock = time.time,
) -> Iterator[Arrived]:
    """Connect, and yield pictures until the sender ends the stream.

    Returns when a stream of announced length has come to its end, or, where it `ends`, to one that
    the server has marked.

    Raises:
        LinkError: it cannot be opened, or broke off.
        FoundRecording: its end is known before it is read.
    """
    body = None if web is None else web.open_first()
    if web is None or body is None:
        container = open_stream(address, how)
    else:
        if ends and web.is_recording(body):
            body.close()
            raise FoundRecording("it is a recording")
        container = open_web(web, body)
    ending = _Ending(web, body, ends)
    try:
        stream = choose_stream(container)
        try:
            context = stream.codec_context
            if context is not None:  # nothing is known yet of a stream joined between key pictures
                check_size((context.height, context.width), how.max_pixels, name="too large")
            decoder = StreamDecoder(
                stream, name="the stream", max_pixels=how.max_pixels, threads=threads
            )
        except SourceOpenError as error:
            raise LinkError(str(error).removeprefix("the stream: "), patient=True) from error
        timeless = container.format.name in _NO_TIMES
        arrivals = Arrivals(stream, timeless=timeless, clock=clock, wall=wall)
        skipping = Skipping(
            stride=stride,
            max_fps=max_fps,
            intra_only=_stands_alone(stream),
            undecoded=undecoded,
            clock=clock,
        )
        reading = _Reading(container, stream, decoder, damage, clock, arrivals, skipping, ending)
        for arrived in reading.run():
            yield replace(arrived, skipped=undecoded.take(), decode_s=reading.worked_s())
    finally:
        container.close()
        if body is not None:
            body.close()


@dataclass(frozen=True, slots=True)
class _Ending:
    """What HTTP knows of the end of a stream; nothing where it is not HTTP."""

    web: Web | None
    body: Body | None
    ends: bool

    def renew(self) -> None:
        """The next packet is waited for."""
        if self.web is not None:
            self.web.renew(self.web.how.read_timeout_s)

    @property
    def marked(self) -> bool:
        """Whether the server has said that this was the end."""
        if self.web is None or self.body is None or self.body.content_type == CAMERA:
            return False
        ended = self.web.list_ended if self.body.is_playlist else self.body.whole
        return self.ends and ended

    @property
    def endless(self) -> bool:
        """Whether it is a camera because the user says so, whatever it announces."""
        return self.web is not None and not self.ends

    @property
    def failure(self) -> str | None:
        """What went wrong."""
        return None if self.web is None else self.web.failure


class _Reading:
    """The packets of one open connection, decoded."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        decoder: StreamDecoder,
        damage: Damage,
        clock: Clock,
        arrivals: Arrivals,
        skipping: Skipping,
        ending: _Ending,
    ) -> None:
        self._ending = ending
        self._container = container
        self._stream = stream
        self._decoder = decoder
        self._damage = damage
        self._clock = clock
        self._gate = DamageGate()
        self._arrivals = arrivals
        self._skipping = skipping
        self._flagged: int | None = None
        self._worked_s = 0.0
        # the parts of a playlist are seldom numbered through; elsewhere a gap is a loss, which
        # decoders do not always notice
        self._flags_mean_damage = container.format.name != "hls"

    def run(self) -> Iterator[Arrived]:
        """Pictures until the end.

        Raises:
            LinkError: it broke off, or pictures grew beyond what is allowed.
        """
        packets = self._container.demux(self._stream)
        while True:
            self._ending.renew()
            try:
                packet = next(packets)
            except (StopIteration, IndexError):  # the latter: PyAV, when streams were added
                break
            except av.FFmpegError as error:
                reason = self._ending.failure or reason_of(error)
                raise LinkError(reason) from None  # its text names the full URL
            if not packet.size:
                continue
            if packet.size > MAX_AHEAD_BYTES:  # a decoder would copy it several times
                raise LinkError(f"more than {MAX_AHEAD_BYTES >> 20} MB came without a picture")
            self._arrivals.note(packet)
            pts_s = self._arrivals.time_of(packet)
            if self._skipping.skips(pts_s, pts=packet.pts, key=packet.is_keyframe):
                continue
            if packet.is_corrupt and self._flags_mean_damage:
                self._flagged = packet.pts
            yield from self._show(self._decode(packet))
        yield from self._show(self._decoder.drain())
        if not self._ending.marked and not self._came_to_its_end():
            raise LinkError(self._ending.failure or "the sender ended the stream")

    def worked_s(self) -> float:
        """Seconds the decoder was at work since this was last asked."""
        worked_s, self._worked_s = self._worked_s, 0.0
        return worked_s

    def _decode(self, packet: av.Packet[VideoStream]) -> list[av.VideoFrame]:
        before, began_s = self._decoder.lost, self._clock()
        frames = self._decoder.decode(packet)
        self._worked_s += self._clock() - began_s
        if self._decoder.refused is not None:
            raise LinkError(str(self._decoder.refused), patient=True)
        if self._decoder.lost > before:
            self._damage.pictures += 1
            self._gate.admits(damaged=True, key=False, at_s=self._clock())
        return frames

    def _show(self, frames: list[av.VideoFrame]) -> Iterator[Arrived]:
        for frame in frames:
            damaged = frame.is_corrupt or (self._flagged is not None and frame.pts == self._flagged)
            if self._gate.admits(damaged=damaged, key=frame.key_frame, at_s=self._clock()):
                self._skipping.shown(frame.pts)
                yield from self._arrivals.place(frame)
            else:
                self._damage.pictures += 1

    def _came_to_its_end(self) -> bool:
        """Whether what has ended was a recording that announced its length."""
        duration = None if self._ending.endless else self._container.duration
        if not duration or self._arrivals.last_pts_s is None:
            return False
        start_s = (self._container.start_time or 0) / av.time_base
        return self._arrivals.last_pts_s - start_s >= duration / av.time_base - _ENDS_WITHIN_S


def _stands_alone(stream: VideoStream) -> bool:
    """Whether no picture of the stream is needed to decode another."""
    context = stream.codec_context
    return context is not None and context.codec.intra_only
