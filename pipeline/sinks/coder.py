"""`Coder`: pictures of any size in, samples of one size out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.sinks.fitting import even, fit
from pipeline.sinks.h264 import Encoder, check_encoder, encoder_options, with_codec
from pipeline.sinks.mp4 import Sample


class Form(NamedTuple):
    """What a player has to know before the first sample."""

    size: tuple[int, int]
    """(height, width) in pixels."""
    sps: bytes
    pps: bytes


class Coder:
    """Codes one picture after the other; an encoder is there from the first on.

    Args:
        codec: FFmpeg's name of an H.264 encoder.
        fps: frames a second, roughly; for rate control.
        threads: of the encoder.
        options: of the encoder.
    """

    def __init__(self, codec: str, *, fps: float, threads: int, options: dict[str, str]) -> None:
        self.size: tuple[int, int] | None = None
        """Of the video; None before the first picture, which decides."""
        self._codec, self._fps, self._threads, self._options = codec, fps, threads, options
        self._encoder: Encoder | None = None
        self._form: Form | None = None

    @property
    def form(self) -> Form:
        """Of the samples that came last."""
        assert self._form is not None  # noqa: S101 - there are samples
        return self._form

    def encode(self, pixels: NDArray[np.uint8], ticks: int, *, key: bool) -> list[Sample]:
        """Code one picture (H, W, 3) BGR; the first of an encoder is a key picture.

        Raises:
            SinkError: the encoder failed.
        """
        if self.size is None:
            self.size = even(pixels.shape[:2])
        if self._encoder is None:
            key = True
            self._encoder = Encoder(
                self._codec,
                width=self.size[1],
                height=self.size[0],
                fps=self._fps,
                threads=self._threads,
                options=self._options,
            )
        i420 = np.asarray(cv2.cvtColor(fit(pixels, self.size), cv2.COLOR_BGR2YUV_I420), np.uint8)
        return self._known(self._encoder, self._encoder.encode(i420, ticks, key=key))

    def drain(self) -> list[Sample]:
        """What is still inside; where there is something, the next picture has a new encoder."""
        encoder = self._encoder
        if encoder is None or not encoder.waiting:
            return []
        self._encoder = None
        return self._known(encoder, encoder.drain())

    def change(self, pixels: NDArray[np.uint8]) -> None:
        """Take the size of this picture from now on; nothing may be inside any more."""
        if (size := even(pixels.shape[:2])) != self.size:
            self.size, self._encoder = size, None

    def close(self) -> None:
        """Let go of the encoder."""
        self._encoder = None

    def _known(self, encoder: Encoder, samples: list[Sample]) -> list[Sample]:
        if samples:
            assert self.size is not None  # noqa: S101 - set by the first picture
            self._form = Form(self.size, encoder.sps, encoder.pps)
        return samples


def open_coder(options: Mapping[str, Any], *, fps_hint: float | None) -> Coder:
    """The coder that a sink's options ask for.

    Raises:
        ConfigError: the encoder is not to be had.
    """
    options = with_codec(options)
    codec, threads, own = options["codec"], options["threads"], encoder_options(options)
    check_encoder(codec, threads=threads, options=own)
    return Coder(codec, fps=fps_hint or 25.0, threads=threads, options=own)
