"""`rtsp://`, `rtmp://`, `udp://`, `srt://`: the stream as it is now, annotated, for players."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.accounting import SinkState
from pipeline.clock import Clock
from pipeline.errors import ConfigError, SinkError, in_one_line
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.secrets import Secret, SecretRef, remember
from pipeline.sinks.fitting import even, fit
from pipeline.sinks.h264 import check_encoder, encoder_options, with_codec
from pipeline.sinks.mp4 import TIMESCALE
from pipeline.sinks.outgoing import Coding, Destination, NotOut, Outgoing
from pipeline.sinks.relay import Relay, program
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import place_of
from pipeline.stages import Position, StreamEnd

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
STUCK_S = 5.0
"""A picture that takes longer to be sent means that nobody takes it."""
_LEAVE_S = 2.0
_TOLD_EVERY = 12
"""Failures in a row from one line to the next."""


class Way(Protocol):
    """A connection pictures are sent over."""

    def send(self, i420: NDArray[np.uint8], ticks: int) -> bool:
        """Send a picture (height * 3 / 2, width) with its time; False: nobody takes them yet.

        Raises:
            NotOut: the connection is over.
        """

    def close(self) -> None:
        """Let go of it."""


class LiveSink:
    """The newest picture, again and again, at a steady rate, for as long as the stream lasts.

    A thread of its own sends; the stream never waits for it, and pictures that come faster than it
    sends are left out. Where none comes, the last one is sent with a notice, so that players stay.
    What is at the other end may come and go: it is asked again with growing pauses. Nothing is
    kept, so nothing is promised after a crash. The first picture gives the size, later ones are
    fitted in.

    Args:
        connect: opens a connection for pictures of a size (height, width).
        name: where to, in messages.
        fps: pictures a second.
        annotated: draw the instances.
        notice_s: from which age on a picture has a notice; 0: never.
        clock: seconds, monotonic.
        rng: for jitter.
    """

    def __init__(
        self,
        connect: Callable[[tuple[int, int]], Way],
        *,
        name: str,
        fps: float,
        annotated: bool,
        notice_s: float,
        clock: Clock = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._connect, self._name = connect, name
        self._fps, self._annotated, self._notice_s = fps, annotated, notice_s
        self._clock, self._rng = clock, rng or random.Random()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._newest: tuple[Picture, float] | None = None
        """And when it came."""
        self._results = 0
        self._failures = 0
        self._connected = False
        self._calling_since: float | None = None
        self._told_stuck = False
        self._broken: str | None = None
        """What ended the thread."""

    def write(self, result: FrameResult, picture: Picture) -> None:
        """This is the newest picture now.

        Raises:
            SinkError: the thread that sends is over, by an error nobody expected.
        """
        if self._broken is not None:
            raise SinkError(f"{self._name}: {self._broken}")
        self._newest = picture, self._clock()
        self._results += 1
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"live-{self._name}", daemon=True
            )
            self._thread.start()
        self._tell_stuck()

    def flush(self) -> Position:
        """There is nothing to make durable."""
        return {"records": self._results}

    def resume(self, position: Position) -> None:
        """Go on counting."""
        self._results = position["records"]

    def finish(self, end: StreamEnd) -> None:
        """Nothing more is sent."""
        self._over.set()

    def close(self) -> None:
        """Let go of the connection; one that is stuck is left to itself after two seconds."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_LEAVE_S)

    def state(self) -> SinkState:
        """Whether pictures are taken."""
        if not self._connected:
            return SinkState("behind" if self._failures else "connecting", 0)
        return SinkState("behind" if self._is_stuck else "connected", 0)

    @property
    def _is_stuck(self) -> bool:
        since = self._calling_since
        return since is not None and self._clock() - since > STUCK_S

    def _run(self) -> None:
        try:
            self._send_on()
        except Exception as error:
            log.exception("sink %s", self._name)
            self._broken = in_one_line(error)

    def _send_on(self) -> None:
        """Connect and send, again and again."""
        while not self._over.is_set():
            size = even(self._pixels().shape[:2])
            began = self._clock()
            self._calling_since = began
            way, due_s = None, 0.0
            try:
                way = self._connect(size)
                self._send_all(way, size)
            except NotOut as error:
                due_s = self._clock() + self._failed(error, lasted_s=self._clock() - began)
            finally:
                self._connected = False
                if way is not None:
                    way.close()
            self._over.wait(max(0.0, due_s - self._clock()))

    def _send_all(self, way: Way, size: tuple[int, int]) -> None:
        """Send until the stream is over, one picture every 1/fps s; late ones are left out."""
        began, number = self._clock(), 0
        shown, i420 = None, np.zeros(0, np.uint8)
        while not self._over.is_set():
            pixels = self._pixels()
            if pixels is not shown:
                shown = pixels
                i420 = np.asarray(cv2.cvtColor(fit(pixels, size), cv2.COLOR_BGR2YUV_I420), np.uint8)
            self._calling_since = self._clock()
            taken = way.send(i420, round(number * TIMESCALE / self._fps))
            self._calling_since = None
            if taken:
                self._taken()
            number = max(number + 1, int((self._clock() - began) * self._fps))
            self._over.wait(max(0.0, began + number / self._fps - self._clock()))

    def _pixels(self) -> NDArray[np.uint8]:
        """What is to be seen now."""
        assert self._newest is not None  # noqa: S101 - the thread begins with the first
        picture, came = self._newest
        pixels = picture.annotated() if self._annotated else picture.image
        age_s = self._clock() - came
        if not self._notice_s or age_s < self._notice_s:
            return pixels
        return with_notice(pixels, f"no picture for {age_s:.0f} s")

    def _taken(self) -> None:
        if self._failures or self._told_stuck:
            log.warning("sink %s takes pictures again", self._name)
        self._failures, self._told_stuck, self._connected = 0, False, True

    def _failed(self, error: NotOut, *, lasted_s: float) -> float:
        """Seconds to wait before the next try."""
        self._calling_since = None
        if self._failures % _TOLD_EVERY == 0:
            log.warning("sink %s; asked again until it takes pictures", error)
        due_s = min(FIRST_PAUSE_S * 2.0 ** min(self._failures, 30), LONGEST_PAUSE_S)
        self._failures += 1
        return max(0.0, due_s - lasted_s) * self._rng.uniform(0.75, 1.25)

    def _tell_stuck(self) -> None:
        if self._is_stuck and not self._told_stuck:
            self._told_stuck = True
            log.warning(
                "sink %s: has taken nothing for %.0f s; pictures are left out", self._name, STUCK_S
            )


def with_notice(pixels: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """The picture with a line on a dark band at its upper edge, a copy."""
    noted = pixels.copy()
    height, width = noted.shape[:2]
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_DUPLEX, max(9, height // 30), 1)
    (wide, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 1)
    scale *= min(1.0, 0.9 * width / wide)
    noted[: 2 * tall] //= 4
    cv2.putText(
        noted,
        text,
        (tall // 2, round(1.5 * tall)),
        cv2.FONT_HERSHEY_DUPLEX,
        scale,
        (255, 255, 255),
        1,
        cv2.LINE_AA,
    )
    return noted


def open_live(target: SinkTarget) -> LiveSink:
    """Open `rtsp://`, `rtsps://`, `rtmp://`, `rtmps://`, `udp://` or `srt://`.

    Raises:
        ConfigError: the encoder is not to be had, a password or key is not where it should be, or
            it is none that SRT takes.
    """
    options, place = target.options, place_of(target)
    try:
        key = SecretRef(options["key_env"], options["key_file"]).read("key")
    except ValueError as error:
        raise ConfigError(f"sink {place}: {error}") from error
    if key is not None:
        remember(key)
    of_place = {field.name: getattr(place, field.name) for field in fields(place)}
    destination = Destination(**of_place, key=None if key is None else Secret(key))
    relay = _relay_of(target, destination) if place.scheme == "srt" else None
    options = with_codec(options)
    own = encoder_options(options)
    check_encoder(options["codec"], threads=options["threads"], options=own)
    fps = float(options["fps"] or min(max(target.fps_hint or 25.0, 1.0), 60.0))
    coding = Coding(options["codec"], fps, options["threads"], own)
    return LiveSink(
        lambda size: Outgoing(destination, coding, size, None if relay is None else relay()),
        name=str(destination),
        fps=fps,
        annotated=options["annotated"],
        notice_s=options["notice"],
    )


def _relay_of(target: SinkTarget, destination: Destination) -> Callable[[], Relay]:
    """Starts what sends on over SRT.

    Raises:
        ConfigError: there is no such program here, or SRT takes no such passphrase.
    """
    path, why_not = program()
    if path is None:
        raise ConfigError(f"sink {destination}: {why_not}")
    word, key = destination.password, destination.key
    options = {"payload_size": "1316"}  # seven packets of MPEG-TS, as receivers expect
    if word is not None:
        if not 10 <= len(word.reveal()) <= 64 or not word.reveal().isprintable():
            raise ConfigError(f"sink {destination}: a passphrase of SRT has 10 to 64 characters")
        options["passphrase"] = word.reveal()
    stream_id = (target.options["streamid"] or "").replace("{source}", target.source_id)
    if stream_id := stream_id + ("" if key is None else key.reveal()):
        options["streamid"] = stream_id
    if (latency_s := target.options["latency"]) is not None:
        options["latency"] = str(round(latency_s * 1e6))
    where = f"srt://{destination.host_and_port}"
    return lambda: Relay(path, where, options)
