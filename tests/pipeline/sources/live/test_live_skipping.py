"""Pictures of a live stream that would be dropped are not even decoded, where that is exact."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable
from typing import Any

import av
import pytest

from pipeline.frames import Frame
from pipeline.sources import open_source
from pipeline.sources.decoder import StreamDecoder
from pipeline.sources.live.live import LiveSource
from pipeline.sources.live.skipping import Skipping, Undecoded
from pipeline.stream.sampling import Sampling

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]
FRAMES, FPS = 60, 10


def live(url: str, **options: Any) -> LiveSource:
    limits = {"open_timeout_s": 2.0, "read_timeout_s": 1.0, "first_connect_s": 0.0}
    source = open_source(url, source_id="gate", live=True, **limits, **options)
    assert isinstance(source, LiveSource)
    return source


def sends(content: bytes) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def sends_jpegs(
    clips: Any, count: int = 10, *, interval_s: float = 0.0, then: Any = None
) -> Answer:
    """Pictures as a camera's own page shows them."""
    with av.open(str(clips.write("m.avi", codec="mjpeg", pix_fmt="yuvj420p"))) as container:
        jpegs = [bytes(packet) for packet in container.demux() if packet.size]
    pace = threading.Event()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        for number in range(count):
            jpeg = jpegs[number % len(jpegs)]
            head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
            handler.wfile.write(head + jpeg + b"\r\n")
            pace.wait(interval_s)
        if then is not None:
            then()

    return answer


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A 1 for every packet that went into a decoder."""
    packets: list[int] = []
    decode = StreamDecoder.decode
    monkeypatch.setattr(
        StreamDecoder, "decode", lambda self, packet: packets.append(1) or decode(self, packet)
    )
    return packets


def first_connection(source: LiveSource) -> tuple[list[Frame], int]:
    """Its frames, and the index at which the next begins: what was skipped counts."""
    frames = []
    for frame in source.frames():
        if frame.epoch:
            source.stop()
            return frames, frame.index
        frames.append(frame)
    raise AssertionError("there was no second connection")


def test_a_jpeg_that_max_fps_leaves_out_is_counted_and_not_decoded(
    server: Any, clips: Any, decoded: list[int]
) -> None:
    host, answers = server
    answers["/cam.mjpeg"] = sends_jpegs(clips)
    source = live(f"http://{host}/cam.mjpeg", max_fps=0.001)
    seen = []
    for frame in source.frames():
        seen.append((frame.epoch, frame.index, clips.number(frame.image), source.skipped))
        if frame.epoch == 2:
            source.stop()
    # sent at once: of each connection the first is due; the rest is counted when one follows
    assert seen == [(0, 0, 0, {}), (1, 10, 0, {"max_fps": 9}), (2, 20, 0, {"max_fps": 18})]
    assert len(decoded) <= 4  # three, and one more if the last connection was dialled again


def test_a_stream_whose_pictures_are_left_out_is_not_silent(server: Any, clips: Any) -> None:
    host, answers = server
    source: LiveSource
    answers["/cam.mjpeg"] = sends_jpegs(clips, 45, interval_s=0.04, then=lambda: source.stop())
    source = live(f"http://{host}/cam.mjpeg", max_fps=0.001, stall_timeout_s=0.3)
    frames = list(source.frames())  # for nearly twice read_timeout_s
    assert len(frames) == 1
    assert source.reconnects == 0


def stream_of(clips: Any, **options: str) -> bytes:
    images = [clips.picture(i % 25) for i in range(FRAMES)]
    given = {"bf": "0", "sc_threshold": "0", **options}
    content: bytes = clips.write("live.ts", images=images, rate=FPS, options=given).read_bytes()
    return content


@pytest.mark.parametrize(
    ("wish", "key_every"),
    [({"stride": 5}, 5), ({"stride": 10}, 5), ({"max_fps": 2.0}, 5), ({"max_fps": 1.1}, 5)],
)
def test_where_key_pictures_suffice_nothing_else_is_decoded(
    server: Any, clips: Any, decoded: list[int], wish: dict[str, float], key_every: int
) -> None:
    host, answers = server
    answers["/live.ts"] = sends(stream_of(clips, g=str(key_every)))
    source = live(f"http://{host}/live.ts", **wish)
    frames, count = first_connection(source)
    learnt = 4 * key_every  # three distances, the first picture's time not known in time
    expected = [*range(learnt + 1), *range(learnt + key_every, FRAMES, key_every)]
    assert [frame.index for frame in frames] == expected
    assert [clips.number(frame.image) for frame in frames] == [i % 25 for i in expected]
    assert (count, sum(source.skipped.values())) == (FRAMES, FRAMES - len(expected))
    assert set(source.skipped) == {"stride" if "stride" in wish else "max_fps"}
    assert len(decoded) < 2 * len(expected)


@pytest.mark.parametrize("stride", [5, 10])
def test_a_stride_takes_the_same_pictures_whether_the_rest_was_decoded_or_not(
    server: Any, clips: Any, stride: int
) -> None:
    host, answers = server
    answers["/live.ts"] = sends(stream_of(clips, g="5"))
    frames, _ = first_connection(live(f"http://{host}/live.ts", stride=stride))
    above = Sampling(stride=stride)
    taken = [f.index for f in frames if above.cause_to_drop(f.pts_s, f.index) is None]
    assert taken == list(range(0, FRAMES, stride))


@pytest.mark.parametrize(
    ("wish", "options"),
    [
        pytest.param({"stride": 6}, {"g": "5"}, id="the stride leads past key pictures"),
        pytest.param({"max_fps": 3.0}, {"g": "5"}, id="key pictures are too few"),
        pytest.param({"stride": 5}, {"g": "5", "bf": "2"}, id="pictures are reordered"),
        pytest.param({"max_fps": 0.001}, {"g": "100"}, id="one key picture"),
        pytest.param({}, {"g": "5"}, id="all are wanted"),
    ],
)
def test_elsewhere_every_picture_is_decoded(
    server: Any, clips: Any, wish: dict[str, float], options: dict[str, str]
) -> None:
    host, answers = server
    answers["/live.ts"] = sends(stream_of(clips, **options))
    source = live(f"http://{host}/live.ts", **wish)
    frames, count = first_connection(source)
    assert [frame.index for frame in frames] == list(range(count))
    assert count >= FRAMES - 2  # pictures still in the decoder when the connection breaks off
    assert source.skipped == {}


class Packets:
    """Feeds packets of 10 a second to `Skipping`, whose decoder answers at once."""

    def __init__(self, *, answers: bool = True, intra_only: bool = False, **wish: Any) -> None:
        self.now_s = 0.0
        self.answers = answers
        self.undecoded = Undecoded()
        self.skipping = Skipping(
            **{"stride": 1, "max_fps": None, **wish},
            intra_only=intra_only,
            undecoded=self.undecoded,
            clock=lambda: self.now_s,
        )
        self._number = 0

    def send(self, keys: str) -> str:
        """`K` for a key picture, anything else for another; what is skipped becomes `-`.

        `B` is one before which time steps back.
        """
        out = ""
        for kind in keys:
            self._number += 1
            self.now_s += -5.0 if kind == "B" else 0.1
            skips = self.skipping.skips(self.now_s, pts=self._number, key=kind == "K")
            if not skips and self.answers:
                self.skipping.shown(self._number)
            out += "-" if skips else kind
        return out


def test_after_three_equal_distances_only_key_pictures_are_decoded() -> None:
    assert Packets(stride=3).send("Kpp" * 5) == "KppKppKppK--K--"
    assert Packets(max_fps=3.0).send("Kpp" * 5) == "KppKppKppK--K--"


def test_where_every_picture_stands_by_itself_only_the_ones_asked_for_are_decoded() -> None:
    assert Packets(intra_only=True, stride=4).send("K" * 10) == "K---K---K-"
    packets = Packets(intra_only=True, stride=2, max_fps=2.5)
    assert packets.send("K" * 9) == "K---K---K"
    assert packets.undecoded.take() == {"stride": 4, "max_fps": 2}


def test_another_distance_ends_it_at_the_next_key_picture() -> None:
    assert Packets(stride=3).send("Kpp" * 4 + "KpKppKpp") == "KppKppKppK--K-KppKpp"


def test_after_a_break_of_time_nothing_is_decoded_that_is_built_on_what_was_not() -> None:
    assert Packets(stride=3).send("Kpp" * 4 + "KpBp" + "Kpp" * 5) == (
        "KppKppKppK--K---KppKppKppK--K--"
    )


def test_a_decoder_that_holds_key_pictures_back_gets_everything() -> None:
    assert Packets(stride=3, answers=False).send("Kpp" * 6) == "Kpp" * 6


def test_key_pictures_that_stay_away_are_silence() -> None:
    packets = Packets(max_fps=1.0)
    packets.send("Kpp" * 4)
    assert packets.undecoded.last_s == packets.now_s
    packets.send("p" * 5)
    alive_s = packets.now_s
    packets.send("p" * 20)
    assert packets.undecoded.last_s == pytest.approx(alive_s)
    assert packets.undecoded.take() == {"max_fps": 27}
