"""Cameras and streams: connected, watched, connected again, for as long as nobody says stop.

The pictures come from a reader thread per connection (`connection`, `reader`); here is only the
state machine: connecting -> streaming -> stalled -> reconnecting -> ... -> ended | failed.
Nothing is buffered here beyond a few pictures, and nothing is dropped: the stream above takes
pictures as fast as they come and drops by its own rules.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import Literal

from pipeline.clock import Clock
from pipeline.errors import SourceError
from pipeline.frames import Frame
from pipeline.secrets import hide_in_logs
from pipeline.sources.decoder import DEFAULT_MAX_PIXELS
from pipeline.sources.live.arrival import Arrived
from pipeline.sources.live.backoff import Backoff
from pipeline.sources.live.connection import Damage, pictures
from pipeline.sources.live.dialling import Dialling, raise_of
from pipeline.sources.live.news import News
from pipeline.sources.live.reader import Reader
from pipeline.sources.live.silence import Silence
from pipeline.sources.live.skipping import Undecoded
from pipeline.sources.network.address import Address
from pipeline.sources.network.link import LinkError, Opening
from pipeline.sources.network.tls import Trust
from pipeline.sources.network.web import Web
from pipeline.sources.picture import PictureConverter, UnconvertibleError
from pipeline.sources.timeline import Timeline
from pipeline.stages import Outcome, Position, Status

_STEADY_S = 10.0
"""A connection that has held so long starts its pauses anew when it breaks."""


class CameraState(StrEnum):
    """What a live source says of itself."""

    CONNECTING = "connecting"
    STREAMING = "streaming"
    STALLED = "stalled"
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    FAILED = "failed"


class LiveSource:
    """The pictures of one camera or stream.

    Args:
        url: see `SCHEMES`, or `/dev/videoN`.
        source_id: names it.
        username: for senders that ask; counts more than what is in the URL.
        password: likewise.
        transport: of RTSP.
        tls_verify: check the certificate of an encrypted connection.
        tls_ca_file: certificates to trust instead of the system's.
        reach: hosts that may be asked, see `reach.is_allowed`; None: any.
        open_timeout_s: for connecting, and again for the first look at the stream.
        read_timeout_s: without a picture for so long the connection is given up.
        stall_timeout_s: without a picture for so long it counts as stalled.
        first_connect_s: give up and fail when the first picture has not come by then; None: never.
        backoff_s: first and longest pause between attempts.
        max_pixels: larger pictures are refused.
        stride: pictures the stream above leaves out by this are not decoded where possible, see
            `Skipping`; 1 decodes all.
        max_fps: likewise; None decodes all.
        threads: of the decoder; more than one delays pictures.
        ends: an end that the server marks is the end, and what has one is no camera; False: it is
            asked again for ever.
        dial: makes a connection; for tests.
        clock: seconds, monotonic.
        rng: for the jitter.
    """

    live = True

    def __init__(
        self,
        url: str,
        *,
        source_id: str,
        username: str | None = None,
        password: str | None = None,
        transport: Literal["tcp", "udp"] = "tcp",
        tls_verify: bool = True,
        tls_ca_file: str | None = None,
        reach: tuple[str, ...] | None = None,
        open_timeout_s: float = 5.0,
        read_timeout_s: float = 5.0,
        stall_timeout_s: float = 2.0,
        first_connect_s: float | None = None,
        backoff_s: tuple[float, float] = (0.3, 2.0),
        max_pixels: int = DEFAULT_MAX_PIXELS,
        stride: int = 1,
        max_fps: float | None = None,
        threads: int = 1,
        ends: bool = False,
        dial: Callable[[], Iterator[Arrived]] | None = None,
        clock: Clock = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        hide_in_logs()
        self.source_id = source_id
        self.address = Address.parse(url, username=username, password=password)
        self._first_connect_s = first_connect_s
        self._clock = clock
        self._damage, self._undecoded = Damage(), Undecoded()
        self.how = Opening(
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
            transport=transport,
            max_pixels=max_pixels,
            trust=Trust(tls_verify, tls_ca_file),
            reach=reach,
        )
        self._silence = Silence.of(open_timeout_s, read_timeout_s, stall_timeout_s)
        of_it = partial(pictures, self.address, how=self.how, ends=ends)
        self._pictures = partial(of_it, stride=stride, max_fps=max_fps, threads=threads)
        self._news = News(source_id, self.address, clock)
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._dialling = Dialling(
            dial or self._connected, source_id, self._news, stopped=self._stopped, wake=self._wake
        )
        self._backoff = Backoff(*backoff_s, rng=rng or random.Random())
        self._converter = PictureConverter()
        self._unconvertible = ""
        self._web: Web | None = None
        self._timeline: Timeline | None = None
        self._state = CameraState.CONNECTING
        self._reconnects = self._index = self._decoded = 0
        self._skipped: Counter[str] = Counter()
        self._last_frame_s: float | None = None
        self._opened_s = 0.0
        self._why: str | None = None  # the last connection ended
        self._outcome = Outcome(Status.INCOMPLETE, "not read to its end")

    @property
    def state(self) -> str:
        """One of `CameraState`."""
        return self._state

    @property
    def why(self) -> str | None:
        """Why the last connection ended, while there is no other."""
        apart = (CameraState.CONNECTING, CameraState.RECONNECTING)
        return self._why if self._state in apart else None

    @property
    def decode_errors(self) -> int:
        """Pictures that could not be decoded, or were held back as built on damage."""
        return self._damage.pictures

    @property
    def reconnects(self) -> int:
        """Outages survived: connections that gave pictures after one before had ended."""
        return self._reconnects

    @property
    def skipped(self) -> Mapping[str, int]:
        """See `Source.skipped`."""
        return dict(self._skipped)

    @property
    def left_behind(self) -> int:
        """Reader threads that have not come back yet."""
        return self._dialling.left_behind

    @property
    def outcome(self) -> Outcome:
        """Complete when it was stopped or the sender's recording ended, and pictures had come."""
        return self._outcome

    def stop(self) -> None:
        """End `frames` at once; a read that hangs is left to its own deadline."""
        self._stopped.set()
        self._wake.set()

    def frames(self, start: Position | None = None) -> Iterator[Frame]:
        """See `Source.frames`; `start` says where to go on counting.

        Raises:
            SourceError: the first picture did not come within `first_connect_s`.
        """
        self._index = int(start["index"]) if start else 0
        epoch = int(start["epoch"]) if start else 0
        began_s = self._clock()
        while not self._stopped.is_set():
            dialled_s = self._clock()
            reader = self._dialling.connect()
            if reader is None:
                break
            broken: LinkError | None = None
            try:
                yield from self._receive(reader, epoch)
            except LinkError as error:
                broken = LinkError(str(error), patient=error.patient)  # without its frames
            finally:
                self._dialling.leave(reader)
            if broken is None:
                break
            self._why = str(broken)
            self._give_up_first(began_s, broken)
            opened = self._opened_s >= dialled_s
            self._pause(broken, waited_s=0.0 if opened else self._clock() - dialled_s)
        self._state = CameraState.ENDED
        if self._decoded or self._why is None:
            self._outcome = Outcome(Status.COMPLETE, decoded=self._decoded)
        else:
            self._outcome = Outcome(Status.INCOMPLETE, f"no picture ever came: {self._why}")

    def begin_with(self, web: Web) -> None:
        """Let the first connection be one that was made already, for a look."""
        self._web = web

    # -- one connection --------------------------------------------------------------------

    def _connected(self) -> Iterator[Arrived]:
        web, self._web = self._web, None
        if web is None and self.address.scheme in ("http", "https"):
            web = Web(self.address, self.how, source_id=self.source_id)
        return self._pictures(
            web=web, damage=self._damage, undecoded=self._undecoded, clock=self._clock
        )

    def _receive(self, reader: Reader[Arrived], epoch: int) -> Iterator[Frame]:
        """The frames of one connection; returns when stopped or the recording has ended.

        Raises:
            LinkError: the connection ended or went silent.
            FoundRecording: it is none of a camera.
        """
        opened_s = self._clock()
        fresh = True
        interval_s = 0.0
        while not self._stopped.is_set():
            self._wake.clear()
            item = reader.take()
            if item is None:
                if reader.ended:
                    if (item := reader.take()) is None:
                        return raise_of(reader)
                else:
                    self._watch(opened_s, interval_s, fresh=fresh)
                    continue
            if fresh:
                self._open_timeline(item, epoch)
            fresh, interval_s = False, item.interval_s
            frame = self._frame(item)
            if frame is not None:
                yield frame
        return None

    def _watch(self, opened_s: float, interval_s: float, *, fresh: bool) -> None:
        """Wait for the reader, not longer than until the next thing that has to be said.

        Raises:
            LinkError: it was silent for too long.
        """
        last_s = opened_s if fresh or self._last_frame_s is None else self._last_frame_s
        last_s = max(last_s, self._undecoded.last_s)
        silent_s = self._clock() - last_s
        limit_s = self._silence.limit_s(interval_s, fresh=fresh)
        stalled_s = self._silence.stalled_s(interval_s)
        if silent_s >= limit_s:
            raise LinkError(f"no picture for {limit_s:g} s")
        if not fresh and silent_s >= stalled_s:
            if self._state is not CameraState.STALLED:
                self._news.say(logging.WARNING, f"no picture for {silent_s:.1f} s")
            self._state = CameraState.STALLED
            stalled_s = limit_s
        self._wake.wait(max(0.0, (limit_s if fresh else min(stalled_s, limit_s)) - silent_s))

    def _open_timeline(self, first: Arrived, epoch: int) -> None:
        """The first picture of a connection is here: it counts."""
        if self._timeline is None:
            self._timeline = Timeline(interval_s=first.interval_s, epoch=epoch)
        else:
            self._timeline.restart(interval_s=first.interval_s)
            self._reconnects += 1
        self._backoff.answered()
        if self._backoff.attempts:
            self._news.say(logging.INFO, f"pictures again after {self._backoff.attempts} attempts")
        self._opened_s = self._clock()

    def _frame(self, item: Arrived) -> Frame | None:
        assert self._timeline is not None  # noqa: S101 - `_open_timeline` came before
        self._last_frame_s = self._clock()
        self._state = CameraState.STREAMING
        if self._backoff.attempts and self._last_frame_s - self._opened_s > _STEADY_S:
            self._backoff.reset()  # not before: a stream that breaks off at once is no recovery
        self._skipped.update(item.skipped)
        self._index += sum(item.skipped.values())
        try:
            image = self._converter.convert(item.frame)
        except UnconvertibleError as error:
            self._damage.pictures += 1
            if self._unconvertible != str(error):
                self._unconvertible = str(error)
                self._news.say(logging.WARNING, f"pictures cannot be shown: {error}")
            return None
        moment = self._timeline.place(item.pts_s, self._converter.shown_size(item.frame))
        index, self._index = self._index, self._index + 1
        self._decoded += 1
        return Frame(
            source_id=self.source_id,
            epoch=moment.epoch,
            index=index,
            pts_s=moment.pts_s,
            image=image,
            captured_at_s=item.captured_at_s,
            clock=item.clock,
            decode_s=item.decode_s,
        )

    # -- between connections ---------------------------------------------------------------

    def _pause(self, error: LinkError, *, waited_s: float) -> None:
        """Say what happened and wait for the next attempt; a long attempt has waited already."""
        self._state = CameraState.CONNECTING if self._timeline is None else CameraState.RECONNECTING
        worked = self._timeline is not None
        delay_s = self._backoff.pause_s(refused=error.patient, worked=worked, waited_s=waited_s)
        self._news.fail(str(error), f"; next attempt in {delay_s:.1f} s")
        self._stopped.wait(delay_s)

    def _give_up_first(self, began_s: float, error: LinkError) -> None:
        limit_s = self._first_connect_s
        if self._timeline is not None or limit_s is None:
            return
        if self._clock() - began_s >= limit_s:
            self._state = CameraState.FAILED
            reason = f"{self.source_id}: {self.address}: {error}; gave up after {limit_s:g} s"
            self._outcome = Outcome(Status.FAILED, reason)
            raise SourceError(reason) from None
